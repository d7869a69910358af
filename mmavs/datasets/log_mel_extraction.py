"""Log-mel files of VGGish beside the sounds of a data set, like those that AVSBench and VCT's preparation make."""
import os
import pickle
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mmavs.audio.log_mel import log_mel_examples, min_seconds
from mmavs.utils.files import atomic_write

from .check import DATASET_TYPES
from .transforms.audio import LoadAudio

# Examples in the published files of each subset. In AVSS those of clips of 5 frames are followed by zeros.
NUM_EXAMPLES = dict(s4=5, ms3=5, avss=10)


@dataclass
class Extraction:
    """What became of the clips of a data root.

    Attributes:
        written: Files written.
        kept: Files that were there before and stay as they were.
        without_sound: Clips that have neither a wav nor a log-mel file.
        problems: One line for each sound that cannot be used, without line breaks.
    """
    written: int = 0
    kept: int = 0
    without_sound: int = 0
    problems: list[str] = field(default_factory=list)


def extract_log_mel(data_root: str | Path,
                    subset: str,
                    metainfo: dict | None = None,
                    overwrite: bool = False) -> Extraction:
    """Write the log-mel examples of all clips of all splits to where the data set looks for them.

    The sounds are read as :class:`LoadAudio` reads them and go through VGGish's own front-end, so that
    ``LoadAudio(source='log_mel')`` gives the model what it makes of the waveform itself. Each file is a plain pickle of
    a float32 tensor, (5, 1, 96, 64) for S4 and MS3, (10, 1, 96, 64) for AVSS. A sound of fewer examples is filled up as
    in the published files: by its last example in S4 and MS3, by zeros in AVSS. What goes beyond is cut off.

    A file appears under its name when it is complete. Sounds that cannot be used are collected, the others written.

    Args:
        data_root: Folder that holds the CSV file.
        subset: 's4', 'ms3' or 'avss'.
        metainfo: See :class:`ClipDataset`, for sets of other classes or events.
        overwrite: Replace files that exist; by default they stay, damaged ones too.

    Raises:
        FileNotFoundError: The CSV file is missing.
        ValueError: The CSV file is not that of the subset, or the subset has no log-mel files.
        OSError: A file cannot be written.
    """
    if subset not in NUM_EXAMPLES:
        raise ValueError(f"subset is {subset!r}, expected {', '.join(NUM_EXAMPLES)}: others have no log-mel files")
    build = partial(DATASET_TYPES[subset], str(data_root), metainfo=metainfo, lazy_init=True)
    splits = Counter(row['split'] for row in build(split='train').read_metadata())
    clips = [clip for split in splits for clip in build(split=split).list_clips()]

    done, console = Extraction(), Console(stderr=True)
    for clip in track(clips, f'{subset} log-mel', console=console, disable=not console.is_terminal):
        path, exists = Path(clip['log_mel_path']), os.path.exists(clip['log_mel_path'])
        if exists and not overwrite:
            done.kept += 1
        elif os.path.exists(clip['audio_path']):
            try:
                examples = extract_examples(clip)
            except (OSError, ValueError) as error:
                message = ' '.join(str(error).split())
                done.problems.append(f"{clip['split']} {clip['clip_id']}: {message}")
            else:
                with atomic_write(path) as partial_file:
                    # A pickle holds the whole memory that a tensor is a view of: its own only.
                    partial_file.write_bytes(pickle.dumps(examples.clone()))
                done.written += 1
        elif exists:
            done.kept += 1
        else:
            done.without_sound += 1
    return done


def extract_examples(clip: dict) -> Tensor:
    """The examples (n, 1, 96, 64) of a clip, n that of the published files of its subset.

    Args:
        clip: One of :meth:`ClipDataset.list_clips`.

    Raises:
        FileNotFoundError: There is no wav file.
        ValueError: It is damaged, or has no complete example.
    """
    wanted = NUM_EXAMPLES[clip['subset']]
    sound = LoadAudio(num_seconds=min_seconds(wanted), mark_end=True)(dict(clip))
    waveform = torch.from_numpy(sound['waveform'][:sound['num_samples']])
    examples = log_mel_examples(waveform[None])[0, :wanted]
    missing = wanted - len(examples)
    if clip['subset'] == 'avss':
        return F.pad(examples, (0, 0, 0, 0, 0, 0, 0, missing))
    return torch.cat([examples, examples[-1:].expand(missing, -1, -1, -1)])

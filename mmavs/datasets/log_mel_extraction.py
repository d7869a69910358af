"""Write the log-mel files of VGGish for the audio of a dataset, as AVSBench and VCT's preparation do."""
import os
import pickle
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from mmavs.audio.log_mel import log_mel_examples, min_seconds
from mmavs.utils.files import atomic_write
from mmavs.utils.progress import track_progress

from .check import DATASET_TYPES
from .transforms.audio import LoadAudio

# Number of examples in the published files of each subset. In AVSS, those of clips of 5 frames end with zeros.
NUM_EXAMPLES = dict(s4=5, ms3=5, avss=10)


@dataclass
class Extraction:
    """Result of the extraction from a data root.

    Attributes:
        written: Number of files written.
        kept: Number of files that existed before and were left as they are.
        without_audio: Number of clips that have neither a wav nor a log-mel file.
        problems: One line for each wav file that cannot be used, without line breaks.
    """

    written: int = 0
    kept: int = 0
    without_audio: int = 0
    problems: list[str] = field(default_factory=list)


def extract_log_mel(data_root: str | Path,
                    subset: str,
                    metainfo: dict | None = None,
                    overwrite: bool = False) -> Extraction:
    """Write the log-mel examples of all clips of all splits to the paths that the dataset reads them from.

    The audio is read by :class:`LoadAudio` and passes VGGish's own front-end, hence ``LoadAudio(source='log_mel')``
    gives the model the same examples as it computes from the waveform. Each file is a plain pickle of a float32 tensor,
    (5, 1, 96, 64) for S4 and MS3, (10, 1, 96, 64) for AVSS. Audio with fewer examples is padded as in the published
    files: with its last example in S4 and MS3, with zeros in AVSS. Further examples are dropped.

    Files are written atomically. Audio files that cannot be used are collected, the others written.

    Args:
        data_root: Directory that holds the CSV file.
        subset: 's4', 'ms3' or 'avss'.
        metainfo: See :class:`ClipDataset`, for datasets of other classes or events.
        overwrite: Whether to replace existing files; by default they are left as they are, even if damaged.

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

    done = Extraction()
    for clip in track_progress(clips, f'{subset} log-mel'):
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
                    # A pickle holds the whole memory that a tensor is a view of; a clone has only its own.
                    partial_file.write_bytes(pickle.dumps(examples.clone()))
                done.written += 1
        elif exists:
            done.kept += 1
        else:
            done.without_audio += 1
    return done


def extract_examples(clip: dict) -> Tensor:
    """Compute the examples (n, 1, 96, 64) of a clip, n as in the published files of its subset.

    Args:
        clip: One of :meth:`ClipDataset.list_clips`.

    Raises:
        FileNotFoundError: There is no wav file.
        ValueError: It is damaged, or has no complete example.
    """
    wanted = NUM_EXAMPLES[clip['subset']]
    loaded = LoadAudio(num_seconds=min_seconds(wanted), mark_end=True)(dict(clip))
    waveform = torch.from_numpy(loaded['waveform'][:loaded['num_samples']])
    examples = log_mel_examples(waveform[None])[0, :wanted]
    missing = wanted - len(examples)
    if clip['subset'] == 'avss':
        return F.pad(examples, (0, 0, 0, 0, 0, 0, 0, missing))
    return torch.cat([examples, examples[-1:].expand(missing, -1, -1, -1)])

#!/usr/bin/env python
"""Make a dataset with the number of clips of AVSBench-semantic, of a few synthetic clips and hard links to their files.

``python tools/benchmarks/make_avss.py DIR`` writes the clips of the three splits, or a ``--fraction`` of them, with 5
frames (v1s, v1m) or 10 (v2). It is for measuring: all files of a kind are copies of a few, on one disk.
"""
import argparse
import os
import shutil
import tempfile
from itertools import count, cycle
from pathlib import Path

import numpy as np
import soundfile

from mmavs.audio.io import read_waveform
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.cli.arguments import positive_int
from mmavs.datasets.avss import NUM_FRAMES, supervised_frames
from mmavs.datasets.file_listing import read_csv, write_csv
from mmavs.synthesis import synthesize_clips
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import atomic_directory

# Clips of the published dataset.
CLIPS = dict(
    train=dict(v1s=3452, v1m=296, v2=4750), val=dict(v1s=740, v1m=64, v2=500), test=dict(v1s=740, v1m=64, v2=750))
LABELS = 'labels_semantic'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make a dataset of the size of AVSBench-semantic')
    parser.add_argument('out', type=Path, help='directory of the dataset, which is replaced')
    parser.add_argument('--size', type=positive_int, default=224, help='side of the frames (default: 224)')
    parser.add_argument('--fraction', type=float, default=1., help='fraction of the published clips (default: 1)')
    parser.add_argument('--different', type=positive_int, default=8, help='clips with files of their own (default: 8)')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    if not 0 < args.fraction <= 1:
        parser.error(f'--fraction is {args.fraction}, expected more than 0 and at most 1')
    return args


@cli_errors()
def main() -> None:
    args = parse_args()
    with atomic_directory(args.out) as root:
        # Beside the result: hard links do not lead to other disks.
        with tempfile.TemporaryDirectory(dir=root) as directory:
            source = Path(synthesize_clips(directory, 'avss', args.different, 1, 1, seed=args.seed, size=args.size))
            clips = [source / row['label'] / row['uid'] for row in read_csv(source / 'metadata.csv', ())
                     if row['split'] == 'train']
            for clip in clips:
                set_length(clip / 'audio.wav', max(NUM_FRAMES.values()))
            rows = link_clips(clips, root, args.fraction)
        write_csv(root / 'metadata.csv', rows, rows[0])
    print(f'{args.out}: {len(rows)} clips')


def set_length(path: Path, seconds: int) -> None:
    """Cut or repeat the audio of a clip."""
    soundfile.write(path, np.resize(read_waveform(path), seconds * SAMPLE_RATE), SAMPLE_RATE, subtype='PCM_16')


def link_clips(clips: list[Path], root: Path, fraction: float) -> list[dict]:
    """Make the clips of all splits below a root; return the rows of the CSV file."""
    rows, sources, numbers = [], cycle(clips), count()
    for split, parts in CLIPS.items():
        for part, published in parts.items():
            for _ in range(max(1, round(fraction * published))):
                source, uid = next(sources), f'{split}_{next(numbers):05d}'
                link_clip(source, root / part / uid, part, split)
                rows.append(dict(vid=uid, uid=uid, s_min=0, s_sec=0, a_obj='', split=split, label=part))
    return rows


def link_clip(source: Path, clip: Path, part: str, split: str) -> None:
    """Link the files of a clip; training clips of v1s have a label in the first frame only."""
    frames, labels = sorted((source / 'frames').iterdir()), sorted((source / LABELS).iterdir())
    for directory in ('frames', LABELS):
        (clip / directory).mkdir(parents=True)
    labelled = supervised_frames(part) if split == 'train' else [True] * NUM_FRAMES[part]
    for index in range(NUM_FRAMES[part]):
        frame, label = frames[index % len(frames)], labels[index % len(labels)]
        os.link(frame, clip / 'frames' / f'{index}{frame.suffix}')
        if labelled[index]:
            os.link(label, clip / LABELS / f'{index}{label.suffix}')
    try:
        os.link(source / 'audio.wav', clip / 'audio.wav')
    except OSError:  # too many links to one file
        shutil.copyfile(source / 'audio.wav', clip / 'audio.wav')


if __name__ == '__main__':
    main()

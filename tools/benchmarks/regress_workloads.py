"""Workloads of ``regress.py``, for the mmavs that PYTHONPATH names: ``regress_workloads.py {make,data,model} ...``.

They use what every recent version of mmavs has, and print CPU seconds and peak memory in MiB as JSON. With the
environment variable ``REGRESS_TURN``, ``data`` and ``model`` print its text before each timed call, and wait for a line
on the standard input.
"""
import json
import os
import sys
import time
from pathlib import Path

import torch

from mmavs.analysis import timing
from mmavs.analysis.complexity import drop_pretrained, frame_size
from mmavs.analysis.random_clips import random_clips
from mmavs.registry import DATASETS, MODELS
from mmavs.utils.config import find_clip_dataset, load_config

# Times that each clip is loaded.
PASSES = 3


class MeterInTurn(timing.Meter):
    """A meter that starts when it is this process's turn."""

    def start(self) -> None:
        print(os.environ['REGRESS_TURN'], flush=True)
        sys.stdin.readline()
        super().start()


def make(root: str) -> dict:
    """Make the clips of the data workload."""
    from mmavs.synthesis import synthesize_clips

    synthesize_clips(root, 'ms3', 6, 1, 1, seed=0, size=224)
    return {}


def data(config: str, root: str) -> dict[str, tuple[float, float]]:
    """Measure the loading of a training clip by the pipeline of a config."""
    dataset = DATASETS.build(dict(find_clip_dataset(load_config(config), 'train')[1],
                                  data_root=f'{root}/Multi-sources'))
    dataset[0]
    meter = timing.Meter(torch.device('cpu'))
    meter.start()
    start = time.process_time()
    for _ in range(PASSES):
        for index in range(len(dataset)):
            dataset[index]
    seconds = (time.process_time() - start) / (PASSES * len(dataset))
    return {'load a clip': (seconds, meter.peak())}


def model(config: str, options: str) -> dict[str, tuple[float, float]]:
    """Measure a prediction and a training step of the model of a config, and the time of its parts (memory NaN).

    Args:
        config: Path of the config.
        options: ``repeats``, ``modes``, ``frames`` and ``parts`` (whether to time them) as JSON.
    """
    options = json.loads(options)
    torch.manual_seed(0)
    loaded = load_config(config)
    drop_pretrained(loaded.model)
    built = MODELS.build(loaded.model)
    clips = random_clips(built, tuple(frame_size(loaded)), num_frames=options['frames'],
                         num_events=loaded.model.decode_head.get('num_prototypes'))
    name = Path(config).stem.partition('_tiny')[0]
    measured = {}
    for mode, result in timing.measure_model(built, clips, options['modes'], options['repeats']).items():
        measured[f'{name}: {mode}'] = result.seconds, result.peak_mib
        if options['parts']:
            measured.update({f"{name}: {mode}: {part.removeprefix('decode_head.')}": (seconds, float('nan'))
                             for part, seconds in result.parts.items()})
    return measured


WORKLOADS = dict(make=make, data=data, model=model)

if __name__ == '__main__':
    torch.set_num_threads(1)
    if 'REGRESS_TURN' in os.environ:
        timing.Meter = MeterInTurn
    print(json.dumps(WORKLOADS[sys.argv[1]](*sys.argv[2:])))

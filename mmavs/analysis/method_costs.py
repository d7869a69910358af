"""Costs of the models of the zoo, for the comparison of methods: parameters by branch, time and memory."""
import datetime
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from mmavs.registry import MODELS
from mmavs.utils.config import load_config
from mmavs.utils.json_files import check_types, read_json, write_json
from mmavs.utils.zoo import ModelInfo

from .complexity import build_outline, count_parameters, drop_pretrained, frame_size
from .random_clips import random_clips
from .timing import Meter, hardware_name, measure_model

#: Frames of the clip that is timed.
NUM_FRAMES = 5


@dataclass(frozen=True)
class Timing:
    """Time and memory of the prediction of one clip of :data:`NUM_FRAMES` frames.

    Attributes:
        model: Model that was timed. A model of the same architecture and frame size takes the same time.
        seconds_per_frame: Median of the calls.
        fastest: Seconds per frame of the fastest call.
        slowest: Seconds per frame of the slowest call.
        peak_mib: Peak memory of a call in addition to the weights, in MiB.
        repeats: Timed calls.
        stamp: Processor, threads, clock, version of PyTorch and day.
    """
    model: str
    seconds_per_frame: float
    fastest: float
    slowest: float
    peak_mib: float
    repeats: int
    stamp: str


@dataclass(frozen=True)
class MethodCost:
    """Size and costs of a model.

    Attributes:
        size: [H, W] of its frames.
        parameters: Parameters of the model.
        audio_backbone: Those of the audio encoder.
        mask_prior: Those of the mask-prior branch, 0 without one.
        timing: Time and memory, None if they were not measured.
    """
    size: list[int]
    parameters: int
    audio_backbone: int
    mask_prior: int
    timing: Timing | None = None


def compared_models(zoo: dict[str, ModelInfo]) -> dict[str, ModelInfo]:
    """Leave the models of ablations out, which the pages of the methods compare."""
    return {name: info for name, info in zoo.items() if info.config.parent.name != 'ablation'}


def count_method(info: ModelInfo) -> tuple[MethodCost, tuple]:
    """Count the parameters of a model, and identify its architecture.

    Args:
        info: Entry of the zoo.

    Returns:
        The cost without a timing, and a key that models of the same architecture, frame size and FLOPs share.
    """
    config = load_config(str(info.config))
    outline = build_outline(config.model)
    size = list(frame_size(config))
    branches = {name: count_parameters(getattr(outline, name)) if getattr(outline, name) is not None else 0
                for name in ('audio_backbone', 'mask_prior')}
    shapes = tuple((name, tuple(weight.shape)) for name, weight in outline.named_parameters())
    return MethodCost(size, count_parameters(outline), **branches), (*size, info.flops, shapes)


def time_method(info: ModelInfo, repeats: int) -> Timing:
    """Time the prediction of one clip with random weights on the CPU, with the present number of threads.

    Args:
        info: Entry of the zoo.
        repeats: Timed calls, after one that warms up.
    """
    config, device = load_config(str(info.config)), torch.device('cpu')
    size, config = frame_size(config), config.model
    drop_pretrained(config)
    model = MODELS.build(config)
    measured = measure_model(model, random_clips(model, size, num_frames=NUM_FRAMES), ('predict', ), repeats)['predict']
    threads = torch.get_num_threads()
    stamp = (f'{hardware_name(device)}, {threads} thread{"s"[:threads > 1]}, {Meter(device).clock}, torch '
             f'{torch.__version__}, {datetime.date.today().isoformat()}')
    seconds = (round(x / NUM_FRAMES, 3) for x in (measured.seconds, measured.fastest, measured.slowest))
    return Timing(info.name, *seconds, round(measured.peak_mib), repeats, stamp)


def read_costs(path: str | Path) -> dict[str, MethodCost]:
    """Read the costs by the name of the model; none if there is no such file.

    Raises:
        ValueError: The file does not hold the costs of methods.
    """
    if not Path(path).exists():
        return {}
    content, number = read_json(path, 'the costs of methods'), int | float
    timing = dict(model=str, seconds_per_frame=number, fastest=number, slowest=number, peak_mib=number, repeats=int,
                  stamp=str)
    counts = dict(size=[int], parameters=int, audio_backbone=int, mask_prior=int)
    check_types(content, {'*': counts | {'timing': dict | None}}, path)
    check_types({name: entry['timing'] for name, entry in content.items() if entry['timing']}, {'*': timing}, path)
    return {name: MethodCost(**entry | dict(timing=entry['timing'] and Timing(**entry['timing'])))
            for name, entry in content.items()}


def write_costs(path: str | Path, costs: dict[str, MethodCost]) -> None:
    """Write the costs as JSON, sorted by the name of the model."""
    write_json(path, {name: asdict(costs[name]) for name in sorted(costs)})

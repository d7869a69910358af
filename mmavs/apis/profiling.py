"""Time, memory and FLOPs of a model."""
import ctypes
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from mmavs.registry import MODELS
from mmavs.structures import AVSDataSample
from mmavs.utils.training_settings import training_settings

SAMPLE_RATE = 16000
MIB = 2**20


class Meter:
    """Clock and peak memory of a device.

    The clock is CPU time with one thread on the CPU, which a busy machine does not disturb much, and wall time
    otherwise. Peak memory counts from the start of a measurement: resident memory of the process on the CPU (Linux
    only), allocated memory on a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.cpu_time = device.type == 'cpu' and torch.get_num_threads() == 1
        self.clock = 'CPU time' if self.cpu_time else 'wall time'

    def now(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)
        return time.process_time() if self.cpu_time else time.perf_counter()

    def start(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
            self.before = torch.cuda.memory_allocated(self.device)
        elif sys.platform == 'linux':
            if platform.libc_ver()[0] == 'glibc':
                ctypes.CDLL(None).malloc_trim(0)  # what earlier calls have freed goes back to the system
            Path('/proc/self/clear_refs').write_text('5')  # forget the peak
            self.before = self._resident('VmRSS')

    def peak(self) -> float:
        """Largest memory since :meth:`start` beyond that at the start, in MiB; NaN where it is not known."""
        if self.device.type == 'cuda':
            return (torch.cuda.max_memory_allocated(self.device) - self.before) / MIB
        return (self._resident('VmHWM') - self.before) / MIB if sys.platform == 'linux' else float('nan')

    @staticmethod
    def _resident(key: str) -> int:
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{key}:'))


class PartTimes:
    """Seconds that the branches of the model, and the parts of its head, take in forward calls."""

    def __init__(self, model: nn.Module, meter: Meter) -> None:
        self.meter = meter
        self.seconds: defaultdict[str, float] = defaultdict(float)
        for name, part in named_parts(model).items():
            part.register_forward_pre_hook(lambda *_, name=name: self.add(name, -meter.now()))
            part.register_forward_hook(lambda *_, name=name: self.add(name, meter.now()))

    def add(self, name: str, seconds: float) -> None:
        self.seconds[name] += seconds


@dataclass
class Measurement:
    """Seconds and memory of repeated calls.

    Attributes:
        seconds: Median.
        fastest: Of the fastest call.
        slowest: Of the slowest call.
        peak_mib: Largest memory that a call needed beyond what was there before it, in MiB.
        parts: Median seconds of each part of the model.
    """
    seconds: float
    fastest: float
    slowest: float
    peak_mib: float
    parts: dict[str, float] = field(default_factory=dict)


def measure(run: Callable[[], object], meter: Meter, parts: PartTimes, repeats: int) -> Measurement:
    """Measure ``repeats`` calls after one to warm up."""
    run()
    seconds, peaks, part_seconds = [], [], defaultdict(list)
    for _ in range(repeats):
        parts.seconds.clear()
        meter.start()
        start = meter.now()
        run()
        seconds.append(meter.now() - start)
        peaks.append(meter.peak())
        for name, value in parts.seconds.items():
            part_seconds[name].append(value)
    medians = {name: statistics.median(values) for name, values in part_seconds.items()}
    return Measurement(statistics.median(seconds), min(seconds), max(seconds), max(peaks), medians)


def measure_model(model: BaseModel,
                  clips: dict,
                  modes: tuple[str, ...] = ('predict', 'train'),
                  repeats: int = 5,
                  amp: torch.dtype | None = None,
                  compiled: bool = False) -> dict[str, Measurement]:
    """Measure prediction and training steps (loss and backward, without the optimizer) of a batch of clips.

    Args:
        model: A model on its device; its gradients are cleared.
        clips: What the model's data preprocessor takes, see :func:`random_clips`.
        modes: ``'predict'``, ``'train'`` or both.
        repeats: Timed calls of each.
        amp: Run in mixed precision (autocast) of this type; None for float32.
        compiled: Compile the model with ``torch.compile``, in the call that warms up; its parts cannot be timed then.

    Returns:
        The measurement of each mode; the parts of ``'train'`` include ``'backward'``.
    """
    meter = Meter(next(model.parameters()).device)
    if compiled:
        parts = PartTimes(nn.Module(), meter)
        model.compile()
    else:
        parts = PartTimes(model, meter)

    def precision() -> AbstractContextManager:
        return nullcontext() if amp is None else torch.autocast(meter.device.type, amp)

    @torch.no_grad()
    def predict() -> None:
        model.eval()
        with precision():
            model(**model.data_preprocessor(clips), mode='predict')

    def train() -> None:
        model.train()
        with precision():
            losses = model(**model.data_preprocessor(clips, training=True), mode='loss')
            loss, _ = model.parse_losses(losses)
        start = meter.now()
        loss.backward()
        parts.add('backward', meter.now() - start)
        model.zero_grad(set_to_none=True)

    calls = dict(predict=predict, train=train)
    return {mode: measure(calls[mode], meter, parts, repeats) for mode in modes}


def named_parts(model: nn.Module) -> dict[str, torch.nn.Module]:
    """The branches of a model, and the parts of its head, by name."""
    parts = {}
    for name, child in model.named_children():
        if name == 'decode_head':
            parts.update({f'{name}.{part}': module for part, module in child.named_children()})
        elif name != 'data_preprocessor':
            parts[name] = child
    return parts


def count_parameters(model: torch.nn.Module) -> int:
    """Numbers in all parameters, trained or not."""
    return sum(parameter.numel() for parameter in model.parameters())


def build_outline(config: dict) -> BaseModel:
    """Build a model without weights: it has the shapes of everything and computes nothing (device ``meta``).

    Enough for :func:`count_parameters` and :func:`count_flops`, of a model of any size in a second or two.

    Args:
        config: ``model`` of a config.
    """
    config = deepcopy(config)
    drop_pretrained(config)
    register = nn.Module.register_parameter

    def register_without_memory(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.to('meta'), parameter.requires_grad)
        register(module, name, parameter)

    # Under torch.device('meta'), constructors that compute numbers with tensors would fail.
    with mock.patch.object(nn.Module, 'register_parameter', register_without_memory):
        model = MODELS.build(config)
    return model.to('meta')


@torch.no_grad()
def count_flops(model: BaseModel, clips: dict) -> dict[str, int]:
    """FLOPs of a prediction: matrix products, convolutions and attention, 2 for each multiply-add.

    Args:
        model: The model, or its outline.
        clips: What its data preprocessor takes.

    Returns:
        FLOPs by the name of the module, ``'backbone'`` for example; ``''`` is the whole model.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval().requires_grad_(False)  # the counter fails on views of parameters that require a gradient
    # PyTorch's counter knows the fused attention of GPUs, not that of CPUs.
    cpu_attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__:
                     sdpa_flop_count(q, k, v)}
    with FlopCounterMode(display=False, custom_mapping=cpu_attention) as counter, _no_autocast_of_outlines():
        model(**model.data_preprocessor(clips), mode='predict')
    for parameter in trained:
        parameter.requires_grad_()
    root = type(model).__name__
    flops = {
        name.removeprefix(root).removeprefix('.'): sum(counts.values())
        for name, counts in counter.get_flop_counts().items() if name.startswith(root)
    }
    # Lists of modules are not called themselves.
    for name, module in reversed(list(model.named_modules())):
        children = [f'{name}.{child}'.removeprefix('.') for child, _ in module.named_children()]
        flops.setdefault(name, sum(flops[child] for child in children))
    return flops


@contextmanager
def _no_autocast_of_outlines() -> Iterator[None]:
    """Let code that switches autocast off run on the device ``meta``, which has none."""
    autocast = torch.autocast

    def switch(device_type: str, *args, **kwargs) -> AbstractContextManager:
        return nullcontext() if device_type == 'meta' else autocast(device_type, *args, **kwargs)

    with mock.patch.object(torch, 'autocast', switch):
        yield


@dataclass
class Complexity:
    """Parameters and FLOPs of a prediction.

    Attributes:
        size: (H, W) of the frames.
        frames: Number of frames.
        parameters: Parameters by the name of the module; ``''`` is the whole model.
        flops: FLOPs likewise.
        parts: The names of the branches and of the parts of the head.
    """
    size: tuple[int, int]
    frames: int
    parameters: dict[str, int]
    flops: dict[str, int]
    parts: list[str]

    def without(self, *branches: str) -> tuple[int, int]:
        """Parameters and FLOPs of the whole model but for some branches."""
        return tuple(counts[''] - sum(counts.get(branch, 0) for branch in branches)
                     for counts in (self.parameters, self.flops))


def complexity_of(config: Config, num_frames: int = 5, size: tuple[int, int] | None = None) -> Complexity:
    """Parameters and FLOPs of the model of a config, counted without computing anything.

    Args:
        config: The config.
        num_frames: Frames of the clip.
        size: (H, W) of the frames; None for that of :func:`frame_size`.
    """
    model = build_outline(config.model)
    size = tuple(size or frame_size(config))
    flops = count_flops(model, random_clips(model, size, num_frames=num_frames))
    parameters = {name: count_parameters(module) for name, module in model.named_modules()}
    return Complexity(size, num_frames, parameters, flops, list(named_parts(model)))


def frame_size(config: Config) -> tuple[int, int]:
    """(H, W) of the frames that a config tests on.

    Raises:
        ValueError: Neither the head nor the pipeline of the test says it.
    """
    size = config.model.decode_head.get('input_size') or training_settings(config, 'test')['input_size']
    if size is None:
        raise ValueError(f"{config.filename}: neither decode_head.input_size nor the test pipeline states the size of "
                         'the frames: give it by --size')
    return tuple(size)


def random_clips(model: BaseModel,
                 size: tuple[int, int],
                 num_clips: int = 1,
                 num_frames: int = 5,
                 num_labelled: int | None = None,
                 num_events: int | None = None,
                 out_size: tuple[int, int] = (224, 224)) -> dict:
    """Random clips that suit a model, with a rectangle of a random class in every frame.

    Args:
        model: The model.
        size: (H, W) of the frames.
        num_clips: Clips B.
        num_frames: Frames T of each, with a second of sound for each example that the model hears in a frame.
        num_labelled: The first frames of a clip have ground truth, so many; None for all of them.
        num_events: Audio events M, for heads with prototypes.
        out_size: (H, W) of the predictions.

    Returns:
        ``dict(inputs=..., data_samples=...)`` as a data loader gives it.
    """
    head, ears = model.decode_head, model.audio_backbone
    inputs, samples = [], []
    for _ in range(num_clips):
        clip = dict(
            frames=torch.randint(256, (num_frames, 3, *size), dtype=torch.uint8),
            waveform=torch.rand(*(2, ) * ears.stereo, num_frames * ears.examples_per_frame * SAMPLE_RATE) - 0.5)
        if getattr(model, 'mask_prior', None) is not None:
            clip['mask_prior'] = torch.randint(256, (num_frames, 3, *size), dtype=torch.uint8)
        masks = torch.zeros(num_frames, *size, dtype=torch.uint8)
        masks[:, size[0] // 4:size[0] // 2, size[1] // 4:] = torch.randint(
            1, max(2, head.num_classes), (num_frames, 1, 1))
        sample = AVSDataSample(metainfo=dict(img_shape=size, out_shape=out_size))
        sample.valid = torch.ones(num_frames, dtype=torch.bool)
        sample.labelled = torch.arange(num_frames) < (num_frames if num_labelled is None else num_labelled)
        sample.gt_sem_seg = masks
        if num_events is not None:
            sample.gt_events = (torch.rand(num_frames, num_events) < 0.1).float()
        inputs.append(clip)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def drop_pretrained(node: object) -> None:
    """Remove the files of weights from a config, in place: speed does not depend on them."""
    if isinstance(node, dict):
        if isinstance(node.get('init_cfg'), dict) and node['init_cfg'].get('type') == 'Pretrained':
            node['init_cfg'] = None
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        drop_pretrained(child)


def hardware_name(device: torch.device) -> str:
    """Name of the GPU, or of the processor with the instructions that PyTorch uses of it."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    if sys.platform == 'linux':
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return f"{line.split(':')[1].strip()} {torch.backends.cpu.get_cpu_capability()}"
    return platform.processor() or platform.machine()

"""Measure the time and memory of a model."""
import ctypes
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine.model import BaseModel
from torch import nn

from mmavs.utils.precision import autocast_to, check_precision

from .complexity import named_parts

MIB = 2**20


class Meter:
    """Clock and peak memory of a device.

    The clock is CPU time with one thread on the CPU, because a busy machine disturbs it little, and wall time
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
                ctypes.CDLL(None).malloc_trim(0)  # return freed memory to the system
            Path('/proc/self/clear_refs').write_text('5')  # reset the peak
            self.before = self._resident('VmRSS')

    def peak(self) -> float:
        """Return the peak memory since :meth:`start` minus that at the start, in MiB; NaN if unknown."""
        if self.device.type == 'cuda':
            return (torch.cuda.max_memory_allocated(self.device) - self.before) / MIB
        return (self._resident('VmHWM') - self.before) / MIB if sys.platform == 'linux' else float('nan')

    @staticmethod
    def _resident(key: str) -> int:
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{key}:'))


class PartTimes:
    """Seconds that the branches of a model, and the parts of its head, take in forward calls."""

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
        seconds: Median seconds of a call.
        fastest: Seconds of the fastest call.
        slowest: Seconds of the slowest call.
        peak_mib: Peak memory of a call minus the memory before it, in MiB.
        parts: Median seconds of each part of the model.
    """
    seconds: float
    fastest: float
    slowest: float
    peak_mib: float
    parts: dict[str, float] = field(default_factory=dict)


def measure(run: Callable[[], object], meter: Meter, parts: PartTimes, repeats: int) -> Measurement:
    """Measure ``repeats`` calls after one that warms up."""
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
                  precision: str = 'fp32',
                  compiled: bool = False) -> dict[str, Measurement]:
    """Measure prediction and training steps (loss and backward, without the optimizer) of a batch of clips.

    Args:
        model: A model on its device; its gradients are cleared, and it predicts in this precision from now on.
        clips: Input of the model's data preprocessor, see :func:`random_clips`.
        modes: ``'predict'``, ``'train'`` or both.
        repeats: Timed calls of each.
        precision: ``'fp32'``, ``'bf16'`` or ``'fp16'``: of predictions that of
            :meth:`mmavs.models.segmentors.AudioVisualSegmentor.accelerate`, of training steps mixed precision
            (autocast).
        compiled: Compile predictions and training steps with ``torch.compile``, in the call that warms up; the parts of
            the model cannot be timed then.

    Returns:
        The measurement of each mode; the parts of ``'train'`` include ``'backward'``.
    """
    meter = Meter(next(model.parameters()).device)
    parts = PartTimes(nn.Module() if compiled else model, meter)
    model.accelerate(precision, compiled)
    forward = torch.compile(model) if compiled else model
    dtype = check_precision(precision)

    @torch.no_grad()
    def predict() -> None:
        model.eval()
        model(**model.data_preprocessor(clips), mode='predict')

    def train() -> None:
        model.train()
        batch = model.data_preprocessor(clips, training=True)
        with autocast_to(dtype, batch['inputs']['frames']):
            loss, _ = model.parse_losses(forward(**batch, mode='loss'))
        start = meter.now()
        loss.backward()
        parts.add('backward', meter.now() - start)
        model.zero_grad(set_to_none=True)

    calls = dict(predict=predict, train=train)
    return {mode: measure(calls[mode], meter, parts, repeats) for mode in modes}


def hardware_name(device: torch.device) -> str:
    """Return the name of the GPU, or of the processor with the instruction set that PyTorch uses."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    if sys.platform == 'linux':
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return f"{line.split(':')[1].strip()} {torch.backends.cpu.get_cpu_capability()}"
    return platform.processor() or platform.machine()

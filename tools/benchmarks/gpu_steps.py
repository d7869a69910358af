"""The steps of the GPU check. ``gpu_check.py`` runs each in a process of its own and records how it ends.

A step takes the arguments of the check and ``record``, which adds to the step's entry in ``results.json``. It records
every result as soon as there is one, because a step can run out of time at any moment.
"""
import multiprocessing
import os
import platform
import subprocess
import time
import traceback
from argparse import Namespace
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from copy import deepcopy
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import mmcv
import mmengine
import torch
from benchmark import (
    allow_tf32,
    drop_pretrained,
    frame_size,
    hardware_name,
    measure_model,
    random_clips,
)
from gpu_results import REPOSITORY, SkippedError, one_line
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.runner import Runner

import mmavs.models
from mmavs.apis import AVSInferencer, list_models
from mmavs.engine.launch import build_runner
from mmavs.registry import MODELS
from mmavs.synthesis import synthesize_clips
from mmavs.synthesis.scenes import CATEGORIES
from mmavs.utils.config import load_config
from mmavs.utils.zoo import config_path

Record = Callable[..., None]
GIB = 2**30
TINY = 'configs/{}_tiny_synthetic.py'


@dataclass
class Extent:
    """Extent of a check: which configs, how many steps, on how many processes.

    Attributes:
        configs: Config files or names of models that take a training step and predict.
        workers: Processes that share the device in doing that, and in the parity cases, or that make clips.
        trained: The config that is trained.
        size: Height and width of the synthetic clips that it is trained on.
        steps: Training steps.
        measured: Configs of the rows of the benchmark, one of each method.
        batches: Clips in a batch there.
        repeats: Timed predictions of a row.
        largest_batch: Where the search for the batch that fits ends.
        video: Height, width, frames per second and seconds of the video that is segmented.
    """
    configs: list[str]
    workers: int
    trained: str
    size: int
    steps: int
    measured: list[str]
    batches: tuple[int, ...]
    repeats: int
    largest_batch: int
    video: tuple[int, int, int, int]


def extent_of(device: str) -> Extent:
    """The extent of the check: everything on a GPU; two small models on a CPU, to try it out."""
    if device != 'cpu':
        names = sorted(list_models(), key=lambda name: 'ablation' in config_path(name))  # ablations last
        return Extent(configs=names, workers=6, trained='vct_swin-b_avss', size=384, steps=100,
                      measured=[f'{name}_s4' for name in ('vct_swin-b', 'tpavi_pvt-v2-b5', 'avsegformer_pvt-v2-b5',
                                                          'ravs_pvt-v2-b5', 'act_swin-b')],
                      batches=(1, 8), repeats=10, largest_batch=64, video=(1080, 1920, 30, 10))
    tiny = [TINY.format(name) for name in ('vct/vct', 'tpavi/tpavi')]
    return Extent(configs=tiny, workers=1, trained=tiny[0], size=96, steps=4, measured=tiny[:1], batches=(1, ),
                  repeats=1, largest_batch=2, video=(64, 96, 5, 2))


def describe_machine(device: str) -> dict:
    """Hardware and versions, for the stamp of the results."""
    machine = dict(
        hardware=hardware_name(torch.device(device)), cores=len(os.sched_getaffinity(0)), torch=torch.__version__,
        cuda=torch.version.cuda, mmcv=mmcv.__version__, mmengine=mmengine.__version__, mmavs=mmavs.__version__,
        python=platform.python_version(), commit=output_of('git', 'rev-parse', '--short', 'HEAD'))
    if device != 'cpu':
        machine['driver'] = output_of('nvidia-smi', '--query-gpu=driver_version,memory.total', '--format=csv,noheader')
    return machine


def output_of(*command: str) -> str:
    """The output of a program, '' if there is no such program."""
    try:
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ''


# ---- (a) mmcv's deformable attention ----


def deformable(args: Namespace, record: Record) -> None:
    """Compare deformable attention by mmcv's op with that in PyTorch, forward and backward, float32 and float16."""
    from compare_deformable_attention import compare, uses_op
    record(op=uses_op(args.device))
    allow_tf32(False)
    rows = compare(args.device, 384 if args.device != 'cpu' else 96, frames=4)
    record(rows=rows)
    tests = TestRecorder(record)
    tests.run('tests/test_deformable_attention.py')
    if args.device != 'cpu' and not uses_op(args.device):
        raise RuntimeError('mmcv has no CUDA op here: PyTorch was compared with itself')
    beyond = [f"{row['quantity']} in {row['precision']}" for row in rows if row['error'] > row['allowed']]
    if beyond:
        raise RuntimeError(f'the two differ by more than is allowed in {", ".join(beyond)}')
    tests.check()


# ---- (b) parity ----


def parity(args: Namespace, record: Record) -> None:
    """Reproduce the outputs of the published implementations on the device, in float32 without TF32."""
    os.environ['MMAVS_PARITY_DEVICE'] = args.device
    packed = args.pack / 'parity/cases'
    if packed.is_dir():
        os.environ['MMAVS_PARITY_DIR'] = str(packed)
    workers = 2 * extent_of(args.device).workers
    parallel = ['-n', str(workers), '--dist', 'worksteal'] if workers > 2 and find_spec('xdist') else []
    tests = TestRecorder(record)
    tests.run('tests/test_parity.py', *parallel)
    if all(test['outcome'] == 'skipped' for test in tests.found.values()):
        raise SkippedError('there are no cases: name their directory by MMAVS_PARITY_DIR')
    tests.check()


class TestRecorder:
    """Plugin of pytest that records the outcome of every test, and what it printed, as soon as the test has ended."""

    def __init__(self, record: Record) -> None:
        self.record, self.found = record, {}

    def run(self, *arguments: str) -> None:
        import pytest
        pytest.main(['-p', 'no:cacheprovider', *arguments], plugins=[self])

    def pytest_runtest_logreport(self, report) -> None:
        if report.when != 'call' and report.passed:
            return
        test = dict(outcome=report.outcome, seconds=round(report.duration, 1), printed=report.capstdout.strip()[-1500:])
        if report.failed:
            crash = getattr(report.longrepr, 'reprcrash', None)
            test['error'] = ' '.join(str(crash.message if crash else report.longrepr).split())[:600]
        elif report.skipped:
            test['reason'] = report.longrepr[2].removeprefix('Skipped: ')
        self.found[report.nodeid.rpartition('::')[2]] = test
        self.record(tests=self.found)

    def check(self) -> None:
        failed = [name for name, test in self.found.items() if test['outcome'] == 'failed']
        if failed or not self.found:
            raise RuntimeError(f'{len(failed)} of {len(self.found)} tests failed: {", ".join(failed)}')


# ---- (c) every config ----

_broken_by: str | None = None  # the config after which CUDA no longer works in this process


def configs(args: Namespace, record: Record) -> None:
    """Let every published config take one training step and predict, with random weights and random clips."""
    extent = extent_of(args.device)
    found = {}
    # Configs that are left over are tried again: a process broke, or several together needed too much memory.
    for workers in (extent.workers, 1, 1):
        missing = [name for name in extent.configs if found.get(name, {}).get('status', 'left over') == 'left over']
        if not missing:
            break
        with ProcessPoolExecutor(workers, multiprocessing.get_context('spawn')) as pool:
            jobs = {pool.submit(try_config, name, args.device): name for name in missing}
            for job in as_completed(jobs):
                try:
                    found[jobs[job]] = job.result()
                except BrokenProcessPool as error:
                    found[jobs[job]] = dict(status='left over', error=one_line(error))
                record(configs=found, total=len(extent.configs))
    wrong = [name for name, result in found.items() if result['status'] != 'ok']
    if wrong:
        raise RuntimeError(f'{len(wrong)} of {len(found)} configs failed: {", ".join(wrong)}')


def try_config(name: str, device: str) -> dict:
    """Result of a config; after an error of CUDA this process leaves its later configs to another one."""
    global _broken_by
    if _broken_by is not None:
        return dict(status='left over', error=f'{_broken_by} broke CUDA in the process')
    start = time.perf_counter()
    try:
        return dict(status='ok', **run_config(name, device), seconds=round(time.perf_counter() - start, 1))
    except Exception as error:
        traceback.print_exc()
        if 'CUDA error' in str(error):
            _broken_by = name
        status = 'left over' if isinstance(error, torch.OutOfMemoryError) else 'failed'
        return dict(status=status, error=one_line(error), seconds=round(time.perf_counter() - start, 1))
    finally:
        if device != 'cpu':
            torch.cuda.empty_cache()


def run_config(name: str, device: str) -> dict:
    """Loss of one training step of a config and the check of one prediction."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // extent_of(device).workers))
    torch.manual_seed(0)
    if device != 'cpu':
        torch.cuda.reset_peak_memory_stats()
    config, model = build_model(name, device)
    subset = Path(name).stem.replace('-', '_').split('_')
    # VPO has images, S4 labels the first frame.
    frames = dict(clips=2, frames=1) if 'vpo' in subset else dict(clips=1, frames=5)
    clips = clips_of(config, model, **frames, labelled=1 if 's4' in subset else None)
    losses = model.train().train_step(clips, optimizer_of(config, model, device))
    loss = losses['loss'].item()
    with torch.no_grad():
        samples = model.eval().test_step(clips)
    if not torch.tensor(loss).isfinite() or not all(sample.foreground_prob.isfinite().all() for sample in samples):
        raise ValueError(f'the loss is {loss}, or a prediction is not finite')
    peak = torch.cuda.max_memory_allocated() / GIB if device != 'cpu' else 0
    return dict(loss=round(loss, 4), peak_gib=round(peak, 2))


def build_model(name: str, device: str | None = None) -> tuple[mmengine.Config, BaseModel]:
    """Config and model with random weights."""
    config = load_config(name)
    drop_pretrained(config.model)
    return config, MODELS.build(config.model).to(device or 'cpu')


def clips_of(config: mmengine.Config, model: BaseModel, clips: int, frames: int = 5,
             labelled: int | None = None) -> dict:
    """Random clips of the size of the config."""
    return random_clips(model, frame_size(config), clips, frames, labelled,
                        config.model.decode_head.get('num_prototypes'))


def optimizer_of(config: mmengine.Config, model: BaseModel, device: str, amp: bool = False) -> OptimWrapper:
    """The optimizer of the config; mixed precision is that of the config, or is switched on."""
    wrapper = deepcopy(config.optim_wrapper)
    if device == 'cpu':
        wrapper.type = 'OptimWrapper'
        wrapper.pop('loss_scale', None)
    elif amp:
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
    return build_optim_wrapper(model, wrapper)


# ---- (d) training ----


def training(args: Namespace, record: Record) -> None:
    """Train VCT with Swin-B at 384 in mixed precision on synthetic clips, as tools/train.py would."""
    extent = extent_of(args.device)
    data, classes = args.work_dir / 'data', ('background', *CATEGORIES)
    synthesize_clips(data, 'avss', 16, 1, 1, size=extent.size, workers=extent.workers)
    # Without validation: the synthetic clips have fewer classes than the model.
    config = load_config(extent.trained, {
        'work_dir': str(args.work_dir / 'training'), 'train_cfg.max_iters': extent.steps,
        'train_dataloader.dataset.data_root': str(data / 'AVSS'),
        'train_dataloader.dataset.metainfo.classes': classes})
    for section in ('val', 'test'):
        for key in (f'{section}_cfg', f'{section}_dataloader', f'{section}_evaluator'):
            config[key] = None
    config.default_hooks.checkpoint = None
    drop_pretrained(config.model)
    if args.device != 'cpu':
        config.optim_wrapper.type = 'AmpOptimWrapper'
        config.optim_wrapper.setdefault('loss_scale', 'dynamic')
    runner = build_runner(config)
    runner.register_hook(LossRecorder(record), priority='LOWEST')
    record(config=extent.trained, precision=config.optim_wrapper.type, clips=config.train_dataloader.batch_size)
    runner.train()


class LossRecorder(Hook):
    """Records losses, speed and memory of a training, every tenth step."""
    INTERVAL, WARM_UP = 10, 20

    def __init__(self, record: Record) -> None:
        self.record, self.losses, self.times = record, [], []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        self.losses.append(round(float(outputs['loss']), 4))  # waits for the GPU
        self.times.append(time.perf_counter())
        if len(self.losses) % self.INTERVAL and len(self.losses) < runner.max_iters:
            return
        result = dict(losses=self.losses)
        start = min(self.WARM_UP, len(self.times) // 2) - 1
        steps = len(self.times) - 1 - start
        if start >= 0 and steps:
            seconds = (self.times[-1] - self.times[start]) / steps
            clips = runner.train_dataloader.batch_size
            result.update(seconds_per_step=round(seconds, 4), clips_per_second=round(clips / seconds, 2))
        if torch.cuda.is_available():
            result['peak_gib'] = round(torch.cuda.max_memory_allocated() / GIB, 2)
        self.record(**result)


def batch_24gb(args: Namespace, record: Record) -> None:
    """Find the largest batch of training in mixed precision on a GPU of 24 GB.

    PyTorch may allocate 23 GiB: the rest is that of the CUDA context and the libraries.
    """
    extent, limit = extent_of(args.device), 23
    config, model = build_model(extent.trained, args.device)
    optimizer = optimizer_of(config, model.train(), args.device, amp=True)
    if args.device != 'cpu':
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1., limit * GIB / total))
    found = dict(config=extent.trained, frames=5, limit_gib=limit, batch=0, peaks_gib={})
    for batch in range(1, extent.largest_batch + 1):
        clips = clips_of(config, model, batch)
        try:
            model.train_step(clips, optimizer)
        except torch.OutOfMemoryError:
            found['ends'] = f'{batch} clips do not fit'
            record(**found)
            return
        found['batch'] = batch
        if args.device != 'cpu':
            found['peaks_gib'][str(batch)] = round(torch.cuda.max_memory_reserved() / GIB, 2)
        record(**found)
    found['ends'] = 'the search ended' if args.device != 'cpu' else 'not measured: a CPU has no such limit'
    record(**found)


# ---- (e) rows of the benchmark ----


def benchmark(args: Namespace, record: Record) -> None:
    """Measure the predictions of every method at both batches, in all precisions, then compiled."""
    extent = extent_of(args.device)
    plain = ('fp32', 'tf32', 'bf16')
    if args.device == 'cpu':
        plain = ('fp32', 'bf16')
        torch.compiler.set_stance('force_eager')  # compiling takes minutes, more than trying the check out is worth
    variants = [(name, batch, precision, compiled)
                for precisions, compiled in ((plain, False), (('bf16', ), True))
                for name in extent.measured for batch in extent.batches for precision in precisions]
    models, rows = {}, []
    for name, batch, precision, compiled in variants:
        row = dict(config=name, clips=batch, precision=precision, compiled=compiled)
        try:
            if name not in models:
                models[name] = build_model(name)
            row.update(measure_row(*models[name], row, args.device, extent.repeats))
        except Exception as error:
            traceback.print_exc()
            row['error'] = one_line(error)
        rows.append(row)
        record(rows=rows, total=len(variants))
    wrong = sum('error' in row for row in rows)
    if wrong:
        raise RuntimeError(f'{wrong} of {len(rows)} rows failed')


def measure_row(config: mmengine.Config, model: BaseModel, row: dict, device: str, repeats: int) -> dict:
    """Speed and memory of a copy of the model, which a measurement changes."""
    allow_tf32(row['precision'] == 'tf32')
    torch.compiler.reset()
    if device != 'cpu':
        torch.cuda.empty_cache()
    model = deepcopy(model).to(device)
    clips = clips_of(config, model, row['clips'])
    precision = 'fp32' if row['precision'] == 'tf32' else row['precision']
    result = measure_model(model, clips, ('predict', ), repeats, precision, row['compiled'])['predict']
    frames = 5 * row['clips']
    return dict(size='x'.join(map(str, frame_size(config))), frames=5, ms=round(result.seconds * 1000, 2),
                frames_per_second=round(frames / result.seconds, 1), peak_mib=round(result.peak_mib))


# ---- (f) a video ----


def inference(args: Namespace, record: Record) -> None:
    """Segment every frame of a video as ``mmavs infer`` does, from the file to the overlay and the PNG masks."""
    if find_spec('av') is None:
        raise SkippedError('PyAV is not installed, which reads and writes videos')
    from benchmark_inference import generate_video

    extent, rows = extent_of(args.device), []
    height, width, fps, seconds = extent.video
    config, _ = build_model(extent.trained)
    video = generate_video(args.work_dir / 'video.mp4', (height, width), fps, seconds)
    for precision in ('fp32', 'bf16'):
        inferencer = AVSInferencer(config, device=args.device, precision=precision)
        for run in ('first', 'second'):  # the first one chooses and compiles kernels
            start = time.perf_counter()
            inferencer.write(video, args.work_dir / 'masks' / run, ('overlay', 'png'), 'native')
            taken = time.perf_counter() - start
            rows.append(dict(precision=precision, run=run, seconds=round(taken, 2),
                             frames_per_second=round(fps * seconds / taken, 1)))
            record(config=extent.trained, video=f'{seconds} s of {width}x{height} at {fps} fps', rows=rows)

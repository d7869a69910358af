"""Train by a config, after checks that cost seconds: weights, channels and schedule, before any clip is read."""
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.runner import CheckpointLoader, EpochBasedTrainLoop, FlexibleRunner, Runner

from mmavs.checkpoint.compatibility import check_pretrained
from mmavs.checkpoint.fetching import DownloadError
from mmavs.utils.errors import DivergedError
from mmavs.utils.files import errors_with_name
from mmavs.utils.model import unwrap_model

from .channels import check_channels
from .hooks import FreezeBackboneHook
from .launch import build_runner
from .loader_timeout import naming_late_worker
from .resume import choose_checkpoint
from .resumed_state import ResumedStateHook
from .schedule import check_length, schedule_problems
from .stop_signals import StopSignalHook
from .work_dir_lock import locked_work_dir


def train(config: Config, launcher: str = 'none') -> Runner:
    """Train a model.

    Args:
        config: Config of :func:`mmavs.utils.config.load_config`, changed in place.
        launcher: As for :func:`mmavs.engine.launch.build_runner`.

    Returns:
        The runner of the finished training.

    Raises:
        DataError: A worker of a data loader has delivered no batch in its time-out.
        DivergedError: A loss, a gradient or a prediction is NaN or infinite.
        DownloadError: Pretrained weights cannot be downloaded.
        FileNotFoundError: No checkpoint can be resumed.
        TrainingStopped: SIGTERM or SIGINT has ended the training; a ``SystemExit``.
        ValueError: The training has no iteration; pretrained weights do not fit their part of the model, or the
            channels of two parts differ, and the messages name the key of the config; the checkpoint to resume cannot
            be used; or another process trains into the work directory.
    """
    check_length(config)
    runner = build_runner(config, launcher)
    with locked_work_dir(runner.work_dir):
        if config.get('resume'):
            choose_checkpoint(runner.cfg)
            runner._load_from = runner.cfg.load_from
        for problem in schedule_problems(config):
            runner.logger.warning(problem)
        if isinstance(runner, FlexibleRunner):
            _build_model(runner)
        check_channels(unwrap_model(runner.model), config.model)
        check_initial_weights(runner)
        check_epochs(runner)
        runner.register_hook(ResumedStateHook())
        stop = StopSignalHook()
        runner.register_hook(stop)
        with stop.taking_signals():
            _run(runner)
    return runner


def _build_model(runner: FlexibleRunner) -> None:
    """Build the model, which this runner would do later, so that it can be checked first.

    Raises:
        ValueError: A hook needs the whole model, whose parameters may be sharded.
    """
    for hook in runner.hooks:
        if isinstance(hook, EMAHook | FreezeBackboneHook):
            raise ValueError(f'custom_hooks has the {type(hook).__name__}, which needs the whole model: remove it, or '
                             'train without runner_type and strategy')
    runner.model = runner.strategy.build_model(runner.model)


def _run(runner: Runner) -> None:
    """Train; an error of a diverged training names the iteration."""
    try:
        with naming_late_worker(), errors_with_name(runner.work_dir):
            runner.train()
    except DivergedError as error:
        # Losses that match predictions find NaN before there is a loss.
        place = f'iteration {runner.iter + 1}: '
        raise DivergedError(f'{error}' if f'{error}'.startswith(place) else f'{place}{error}') from error


def check_epochs(runner: Runner) -> None:
    """Raise a ValueError if an epoch has no iteration: the training would end at once, without an error."""
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop) and not len(loop.dataloader):
        loader = loop.dataloader
        raise ValueError(f'train_dataloader: {len(loader.dataset)} clips make no batch of {loader.batch_size}: set a '
                         'smaller batch_size, or drop_last=False')


def check_initial_weights(runner: Runner) -> None:
    """Read all weights that the training starts from, which downloads them, and compare ``init_cfg`` with its part.

    Pretrained weights of a part must fit at least half of its parameters: some may be new, but a file with other names
    would leave all of them at random values. The runner would read them after it has listed and checked all clips.

    Raises:
        DownloadError: A file is not there and cannot be downloaded.
        FileNotFoundError: There is no such file.
        ValueError: A file is damaged or does not fit its part.
    """
    for name, module in unwrap_model(runner.model).named_modules():
        init_cfg = getattr(module, 'init_cfg', None)
        for item in init_cfg if isinstance(init_cfg, list) else [init_cfg]:
            if isinstance(item, dict) and item.get('type') == 'Pretrained':
                with naming_key('.'.join(filter(None, ('model', name, 'init_cfg.checkpoint')))):
                    check_pretrained(module, item['checkpoint'], item.get('prefix') or 'backbone', name or 'the model')
    # A file to resume has been read by choose_checkpoint.
    if runner._load_from and not (runner._resume and '://' not in str(runner._load_from)):
        with naming_key('load_from'):
            CheckpointLoader.load_checkpoint(runner._load_from, map_location='cpu')


@contextmanager
def naming_key(key: str) -> Iterator[None]:
    """Put the key of a config before the message of a missing file."""
    try:
        yield
    except DownloadError as error:
        raise DownloadError(f'{key}: {error}, or set {key}=FILE') from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{key}: {error}') from error
    except KeyError as error:
        raise ValueError(f'{key}: {error} is not the name of a published file: set a file or a URL') from error

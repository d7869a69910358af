"""Scores of a test with those of every class and clip, and a stamp of how they were made, for JSON."""
import datetime
import hashlib
import inspect
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mmcv
import mmengine
import mmseg
import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric

from mmavs.evaluation.metrics.detailed_metric import DetailedMetric
from mmavs.utils.config import metric_configs
from mmavs.utils.files import stream_sha256
from mmavs.utils.json_files import to_json
from mmavs.version import __version__

FORMAT = 'mmavs test report 1'
# Options of a metric that do not change its scores.
NEUTRAL_OPTIONS = ('type', 'prefix', 'collect_device')
# What MMEngine writes into the meta information of a checkpoint about its training.
TRAINING_KEYS = ('experiment_name', 'seed', 'epoch', 'iter')


def make_stamp(config: Config, checkpoint: str, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Describe how a test is made.

    Args:
        config: The config as it was loaded, before a tool changes it.
        checkpoint: Its file.
        meta: Its meta information, of :func:`mmavs.checkpoint.compatibility.load_weights`.

    Returns:
        ``config`` (path) and ``config_sha256`` of the resolved config without its ``work_dir``, ``checkpoint`` and
        ``checkpoint_sha256`` (None if it is not a local file), ``training`` (seed, iteration, ... of the checkpoint, if
        it holds them), ``versions``, ``processes``, ``command`` and ``date`` (UTC).
    """
    resolved = {key: value for key, value in config.to_dict().items() if key != 'work_dir'}
    file = Path(checkpoint).expanduser()
    return dict(
        config=str(config.filename),
        config_sha256=hashlib.sha256(to_json(_sorted(resolved), indent=None).encode()).hexdigest(),
        checkpoint=str(checkpoint),
        checkpoint_sha256=_file_sha256(file) if file.is_file() else None,
        training={key: meta[key] for key in TRAINING_KEYS if isinstance(meta.get(key), str | int)},
        **stamp_run())


def stamp_run() -> dict[str, Any]:
    """Describe this run: ``versions``, ``processes``, ``command`` and ``date`` (UTC)."""
    return dict(
        versions=dict(
            mmavs=__version__,
            torch=torch.__version__,
            mmcv=mmcv.__version__,
            mmengine=mmengine.__version__,
            mmseg=mmseg.__version__,
            python=platform.python_version()),
        processes=get_world_size(),
        command=_command_line(),
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'))


def make_report(config: Config, scores: Mapping[str, float], metrics: Sequence[BaseMetric],
                stamp: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the results of a test; docs/user_guides/testing.md describes the format.

    Args:
        config: The config, with the metrics in ``test_evaluator``.
        scores: The results of the test.
        metrics: The metrics that made them, in the order of the config.
        stamp: See :func:`make_stamp`.
    """
    details = {}
    for options, metric in zip(metric_configs(config), metrics):
        if isinstance(metric, DetailedMetric):
            details[metric.prefix] = dict(
                metric=type(metric).__name__,
                protocol=metric.protocol,
                options=_options(metric, options),
                **metric.details)
    protocols = sorted({metric['protocol'] for metric in details.values()})
    return dict(format=FORMAT, stamp=dict(stamp, protocols=protocols), scores=dict(scores), details=details)


def _options(metric: BaseMetric, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a metric with the defaults of those that the config leaves out: equal options, equal scores."""
    parameters = inspect.signature(type(metric)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return {key: value for key, value in (defaults | dict(given)).items() if key not in NEUTRAL_OPTIONS}


def _command_line() -> str:
    """The command that runs this program again."""
    is_command = Path(sys.argv[0]).stem in ('mmavs', '__main__')
    return shlex.join(['mmavs', *sys.argv[1:]] if is_command else ['python', *sys.argv])


def _file_sha256(path: Path) -> str:
    with path.open('rb') as file:
        return stream_sha256(file)


def _sorted(value: Any) -> Any:
    """Sort the keys of a config; what JSON does not have (functions, regular expressions) becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _sorted(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)

"""``mmavs serve``: a page in the browser, and the same as an HTTP service."""
from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import positive_int

if TYPE_CHECKING:
    from mmavs.serving.messages import ServedModel

DESCRIPTION = 'Serve a page in the browser, and an HTTP API, that segment videos'
#: Config and work directory of ``make demo-photos`` and ``make demo``, for a server without arguments.
DEMOS = (('configs/vct/vct_efficientnet-lite0-128_stamps-demo.py', 'work_dirs/demo-photos'),
         ('configs/vct/vct_tiny_synthetic.py', 'work_dirs/demo'))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument('models', nargs='*', metavar='CONFIG CHECKPOINT',
                        help="a model of the zoo or a config file, and a checkpoint or 'published'; more such pairs; "
                        'or files of mmavs export (.onnx, .pt) (default: the models of make demo-photos and make demo)')
    parser.add_argument('--host', default='127.0.0.1',
                        help='address of the server; 0.0.0.0 opens the server to the network (default: 127.0.0.1, this '
                        'machine alone)')
    parser.add_argument('--port', type=port, default=7860, help='port; 0: any that is free (default: 7860)')
    parser.add_argument('--device', help='for example cpu or cuda:1 (default: the GPU if there is one)')
    limits = parser.add_argument_group('limits')
    limits.add_argument('--max-mb', type=positive_int, default=200, metavar='N',
                        help='megabytes of a file (default: 200)')
    limits.add_argument('--max-seconds', type=positive_int, default=60, metavar='N',
                        help='seconds of a video (default: 60)')
    limits.add_argument('--max-pixels', type=positive_int, default=1920 * 1088, metavar='N',
                        help='pixels of a frame, height times width (default: 2088960, full HD)')
    limits.add_argument('--max-fps', type=positive_int, default=10, metavar='N',
                        help='frames that are segmented for each second (default: 10)')
    limits.add_argument('--job-seconds', type=positive_int, default=300, metavar='N',
                        help='seconds that a job may take (default: 300)')
    limits.add_argument('--job-mb', type=positive_int, default=4096, metavar='N',
                        help='megabytes of memory that a job may take (default: 4096)')
    limits.add_argument('--jobs', type=positive_int, default=1, metavar='N',
                        help='jobs at the same time, each with a copy of the model (default: 1)')
    limits.add_argument('--queue', type=positive_int, default=20, metavar='N',
                        help='jobs that wait; others are refused (default: 20)')
    limits.add_argument('--keep-minutes', type=positive_int, default=60, metavar='N',
                        help='minutes until uploads and results are deleted (default: 60)')


def port(text: str) -> int:
    """Parse a port."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f'{text!r}, expected a whole number from 0 to 65535')
    return int(text)


def run(args: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    models = served_models(args.models)
    from mmavs.serving.limits import MEGABYTE, Limits
    from mmavs.serving.server import serve

    limits = Limits(
        upload_bytes=args.max_mb * MEGABYTE, video_seconds=args.max_seconds, frame_pixels=args.max_pixels,
        frames_per_second=args.max_fps, job_seconds=args.job_seconds, job_bytes=args.job_mb * MEGABYTE,
        queued_jobs=args.queue, concurrent_jobs=args.jobs, kept_seconds=60 * args.keep_minutes)
    serve(models, args.host, args.port, limits, args.device)


def served_models(arguments: Sequence[str]) -> list[ServedModel]:
    """Read the pairs of config and checkpoint.

    Raises:
        argparse.ArgumentError: A config has no checkpoint.
    """
    from mmavs.serving.messages import ServedModel
    from mmavs.utils.export_formats import is_exported_model

    if not arguments:
        return _demo_models()
    models, rest = [], list(arguments)
    while rest:
        config = rest.pop(0)
        if is_exported_model(config):
            checkpoint = None
        elif rest:
            checkpoint = rest.pop(0)
        else:
            raise argparse.ArgumentError(None, f"{config} has no checkpoint: name one after it, or 'published' for the "
                                         'weights of the authors')
        names = [model.name for model in models]
        name = Path(config).stem
        while name in names:
            name += "'" if checkpoint is None else f' ({Path(checkpoint).stem})'
        models.append(ServedModel(name, config, checkpoint))
    return models


def _demo_models() -> list[ServedModel]:
    """The models of the demos that were run here; if none was, that of ``make demo`` with random weights."""
    from mmavs.serving.messages import ServedModel
    from mmavs.utils.files import natural_order
    from mmavs.utils.zoo import zoo_root

    models = []
    for name, work_dir in DEMOS:
        checkpoints = sorted(Path(work_dir).glob('iter_*.pth'), key=natural_order)
        if checkpoints:
            # The demo with photographs writes its config: with other photographs it has other classes.
            own = Path(work_dir, 'config.py')
            config = own if own.is_file() else zoo_root() / name
            models.append(ServedModel(Path(name).stem, str(config), str(checkpoints[-1])))
    last, _ = DEMOS[-1]
    return models or [ServedModel(Path(last).stem, str(zoo_root() / last), None, random=True)]

"""``mmavs infer``: segment videos."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_acceleration, add_json, positive_int

if TYPE_CHECKING:
    from mmavs.batch_inference import SegmentOptions, VideoRecord

DESCRIPTION = 'Segment the sounding objects of videos'
DEFAULT_OUT = 'mmavs_results'
#: Names of ``mmavs.apis.outputs.OUTPUTS``, which the help prints without importing PyTorch.
OUTPUTS = ('overlay', 'png', 'npz', 'coco', 'cutout', 'cutout-prores', 'class-masks', 'csv', 'timeline')

#: Arguments of the engine ray.
RAY_ARGUMENTS = ('address', 'workers', 'cpus_per_worker')
#: Attributes of a record that --json prints.
JSON_KEYS = ('video', 'status', 'files', 'error', 'seconds')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument('videos', nargs='*', metavar='VIDEO',
                        help='files, URLs, directories, or patterns such as "videos/*.mp4"')
    parser.add_argument('--list', metavar='SOURCE',
                        help='instead of VIDEO: path or URL (s3://...) of a directory, or of a text file with a video '
                        'per line; run again, it continues where it stopped')
    parser.add_argument('--model', required=True,
                        help='model of the zoo, config file, or file of mmavs export (.onnx, .pt)')
    parser.add_argument('--weights', metavar='FILE',
                        help="checkpoint, or 'published' for the weights of the authors; an exported model has its own")
    parser.add_argument('--out', default=DEFAULT_OUT, metavar='DIR',
                        help=f'results of the video NAME go to DIR/NAME (default: {DEFAULT_OUT})')
    parser.add_argument('--outputs', nargs='+', choices=OUTPUTS, default=['overlay', 'png'], metavar='KIND',
                        help=f"{', '.join(OUTPUTS)} (default: overlay png)")
    parser.add_argument('--fps', type=frame_rate, default=1, metavar='N',
                        help="frames per second to segment, or 'native' for all (default: 1, as trained)")
    parser.add_argument('--batch-size', type=positive_int, metavar='N',
                        help='clips that the model gets at once (default: as many as have 10 frames)')
    parser.add_argument('--mask-prior', metavar='NAME',
                        help='for models with a mask-prior branch: none, sam, sam2, a SAM of the Hub or its directory, '
                        'or the directory that make_mask_priors.py wrote')
    parser.add_argument('--device', help='for example cpu or cuda:1 (default: the GPU if there is one)')
    add_acceleration(parser)
    parser.add_argument('--skip-existing', action='store_true',
                        help='leave videos out that have these kinds of results, of whatever model')
    add_json(parser, 'status and files of each video')
    parser.add_argument('--engine', choices=['loop', 'ray'], default='loop',
                        help='of --list: one video after the other (default), or workers of Ray')
    parser.add_argument('--address', help='of --engine ray: address of a cluster (default: start Ray on this machine)')
    parser.add_argument('--workers', type=positive_int, metavar='N',
                        help='of --engine ray: processes with a model (default: one per GPU, or by CPUs)')
    parser.add_argument('--cpus-per-worker', type=cpus_of_worker, metavar='N',
                        help='of --engine ray: CPUs of each, of which one decodes (default: 2)')


def frame_rate(text: str) -> Fraction | str:
    """Read a rate such as 25, 29.97 or 30000/1001."""
    if text == 'native':
        return text
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of frames per second, or 'native'")
    return rate


def cpus_of_worker(text: str) -> int:
    """Parse the CPUs of a worker: one decodes, and the model needs one."""
    if positive_int(text) < 2:
        raise argparse.ArgumentTypeError(f'{text!r}, expected a whole number of at least 2: one CPU decodes')
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Write the results of each video. One line reports a video that cannot be used, and the others are segmented."""
    from mmavs.utils.export_formats import is_exported_model
    from mmavs.utils.files import check_writable_directory
    from mmavs.utils.json_files import to_json
    from mmavs.utils.terminal import messages_to_stderr, one_line_warnings, quiet_libraries

    if args.weights is None and not is_exported_model(args.model):
        raise argparse.ArgumentError(None, f'--weights is missing: name a checkpoint of {args.model}, or '
                                     "'published' for the weights of the authors")
    _check_list_arguments(args)
    quiet_libraries()
    if args.list is None:
        check_writable_directory(args.out)
    records: list[VideoRecord] = []
    try:
        with messages_to_stderr(args.json), one_line_warnings():
            (_segment_videos if args.list is None else _segment_list)(args, records)
    finally:
        # After Ctrl-C too: what is finished is reported.
        if args.json and records:
            videos = [{key: getattr(record, key) for key in JSON_KEYS} for record in records]
            print(to_json(dict(model=args.model, weights=args.weights, out=args.out, videos=videos)))
    failed = sum(record.status == 'failed' for record in records)
    skipped = sum(record.status == 'skipped' for record in records)
    print(f'{len(records) - failed - skipped} of {len(records)} video(s) segmented'
          f"{f', {skipped} skipped' if skipped else ''}, results in {args.out}", file=sys.stderr)
    return 1 if failed else 0


def _check_list_arguments(args: argparse.Namespace) -> None:
    """Raise an ArgumentError for arguments that do not fit together."""
    if bool(args.videos) == (args.list is not None):
        raise argparse.ArgumentError(None, 'name videos, or --list and no video')
    if args.list is None and args.engine != 'loop':
        raise argparse.ArgumentError(None, f'--engine {args.engine} needs --list')
    if args.list is not None and args.skip_existing:
        raise argparse.ArgumentError(None, '--skip-existing is of videos that are named; --list goes on by its records')
    given = [f"--{name.replace('_', '-')}" for name in RAY_ARGUMENTS if getattr(args, name) is not None]
    if args.engine != 'ray' and given:
        raise argparse.ArgumentError(None, f"{', '.join(given)} needs --engine ray")
    if args.engine == 'ray' and args.device not in (None, 'cpu', 'cuda'):
        raise argparse.ArgumentError(None, f'--device is {args.device}, expected cpu or cuda: Ray chooses the GPU of '
                                     'each worker')


def _options(args: argparse.Namespace) -> SegmentOptions:
    from mmavs.batch_inference import SegmentOptions

    return SegmentOptions(args.model, args.weights, args.outputs, args.fps, args.batch_size, args.mask_prior,
                          args.device, args.precision, args.compile)


def _segment_list(args: argparse.Namespace, records: list[VideoRecord]) -> None:
    """Segment the videos of ``--list``, and append a record of each."""
    from mmavs.batch_inference import list_stored_videos, segment_list

    arguments = {name: getattr(args, name) for name in RAY_ARGUMENTS if getattr(args, name) is not None}
    segment_list(list_stored_videos(args.list, args.out), args.out, _options(args), args.engine, records, **arguments)


def _segment_videos(args: argparse.Namespace, records: list[VideoRecord]) -> None:
    """Segment the videos, and append a record of each: video, status, files, error and seconds."""
    from mmavs.apis import AVSInferencer
    from mmavs.apis.outputs import output_paths
    from mmavs.apis.result_names import result_names
    from mmavs.batch_inference import VideoRecord, segment_video
    from mmavs.utils.progress import ProgressReport, item_progress

    videos = _without_results(_list_videos(args.videos, records), args.out)
    names = dict(zip(videos, result_names(videos)))
    options = _options(args)
    inferencer = AVSInferencer(*options.model_arguments())
    todo = []
    for video, name in names.items():
        record = VideoRecord(video, name)
        records.append(record)
        paths = list(output_paths(Path(args.out) / name, args.outputs).values())
        if args.skip_existing and all(path.exists() for path in paths):
            record.status, record.files = 'skipped', list(map(str, paths))
        else:
            todo.append(record)
    with ProgressReport('segment', len(todo)) as report:
        for number, record in enumerate(todo):
            report.update(number, f'{Path(record.video).name} ({number + 1} of {len(todo)})')
            segment_video(inferencer, record, Path(args.out) / record.name, options,
                          item_progress(report.update, number))
            if record.status == 'failed':
                print(f'error: {record.error}', file=sys.stderr)
            report.update(number + 1)


def _list_videos(inputs: Sequence[str], records: list[VideoRecord]) -> list[str]:
    """List the videos of all inputs, each once; append a record of each input without any.

    Raises:
        ValueError: No input has any.
    """
    from mmavs.apis.video_source import list_inputs
    from mmavs.batch_inference import VideoRecord
    from mmavs.utils.errors import USER_ERRORS, user_message

    videos: dict[str, None] = {}
    for name in inputs:
        try:
            videos.update(dict.fromkeys(map(str, list_inputs(name))))
        except USER_ERRORS as error:
            message = user_message(error)
            if message is None or len(inputs) == 1:
                raise
            records.append(VideoRecord(name, '', 'failed', error=message))
            print(f'error: {message}', file=sys.stderr)
    if not videos:
        raise ValueError('no input holds a video, expected at least one')
    return list(videos)


def _without_results(videos: Sequence[str], out: str) -> list[str]:
    """Leave out the videos that an earlier run wrote into its directory, which may lie in that of the inputs.

    Raises:
        ValueError: No other is left.
    """
    from mmavs.apis.outputs import OUTPUTS

    out, files, kept = Path(out).resolve(), {output.file for output in OUTPUTS.values()}, []
    for video in videos:
        path = Path(video).resolve()
        is_result = '://' not in video and path.is_relative_to(out) and files & {*path.relative_to(out).parts[1:]}
        if not is_result:
            kept.append(video)
    if not kept:
        raise ValueError(f'{out}: all videos are results of an earlier run, expected at least one other: name another '
                         'input, or another directory with --out')
    if len(kept) < len(videos):
        print(f'{len(videos) - len(kept)} video(s) of {out} left out: results of an earlier run', file=sys.stderr)
    return kept

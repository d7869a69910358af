"""``mmavs score``: score masks on disk, of any repository."""
import argparse
import sys
from collections.abc import Iterable
from typing import Any

from .arguments import positive_int

DESCRIPTION = 'Score predicted masks on disk against the ground truth'
PROTOCOLS = ('avsbench', 'dataset', 'robustness', 'switch')
SUBSETS = ('s4', 'ms3', 'avss', 'vpo-ss', 'vpo-ms', 'vpo-msmi')
ENCODINGS = ('auto', 'binary', 'index', 'palette', 'category')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.usage = f'{parser.prog} GROUND_TRUTH PREDICTIONS [options]'
    parser.add_argument('ground_truth', metavar='GROUND_TRUTH',
                        help='root of a dataset, directory of PNG files, or .npz file')
    parser.add_argument('predictions', metavar='PREDICTIONS', help='directory of PNG files, or .npz file')
    parser.add_argument('--protocol', nargs='+', choices=PROTOCOLS, default=['avsbench'], metavar='NAME',
                        help=f"{', '.join(PROTOCOLS)} (default: avsbench)")
    parser.add_argument('--batch-size', type=positive_int, default=1, metavar='N',
                        help='avsbench: clips in an evaluation batch (default: 1)')
    parser.add_argument('--count-padded-frames', action='store_true',
                        help='avsbench, AVSS: count the frames that pad clips to 10')
    parser.add_argument('--preset', choices=('cavp', 'ddeseg'), default='cavp', help='dataset: absent classes')
    parser.add_argument('--dataset', choices=SUBSETS, metavar='NAME', help=', '.join(SUBSETS))
    parser.add_argument('--split', default='test', help='of a root of a dataset (default: test)')
    names = parser.add_mutually_exclusive_group()
    names.add_argument('--classes', nargs='+', metavar='NAME', help='names of other classes, background first')
    names.add_argument('--num-classes', type=positive_int, metavar='K', help='number of classes (default: 2)')
    parser.add_argument('--soft', action='store_true', help='predicted PNG files are probabilities, 0 to 255')
    parser.add_argument('--gt-encoding', choices=ENCODINGS, default='auto', metavar='KIND',
                        help=f"{', '.join(ENCODINGS)} (default: auto)")
    parser.add_argument('--pred-encoding', choices=ENCODINGS, default='auto', metavar='KIND', help='the same')
    parser.add_argument('--off-palette', choices=('error', 'background'), default='error', metavar='KIND',
                        help='colors of no class: error, background (default: error)')
    parser.add_argument('--resize', choices=('nearest', ), help='resize predictions to the ground truth')
    parser.add_argument('--size', nargs='+', type=positive_int, action=_Size, metavar='N',
                        help='resize both to NxN, or to HEIGHT WIDTH, to the nearest pixel')
    parser.add_argument('--allow-missing', action='store_true', help='score the clips and frames that both have')
    parser.add_argument('--csv', metavar='FILE', help='write the scores of every clip')
    parser.add_argument('--out', metavar='FILE', help='write a report (.json), as tools/test.py --out')
    parser.add_argument('--json', action='store_true', help='print the report instead of the scores')


class _Size(argparse.Action):
    """Read one side or two."""

    def __call__(self, parser, namespace, values, option_string=None) -> None:
        if len(values) > 2:
            parser.error(f'{option_string} {" ".join(map(str, values))}: expected one side or HEIGHT WIDTH')
        setattr(namespace, self.dest, (values[0], values[-1]))


def run(args: argparse.Namespace) -> None:
    """Print the scores, and write those of every clip."""
    import io
    from contextlib import redirect_stdout

    from mmavs.analysis.mask_scoring import score_masks
    from mmavs.datasets.file_listing import write_csv
    from mmavs.utils.files import check_writable
    from mmavs.utils.json_files import to_json, write_json

    if args.count_padded_frames and args.dataset != 'avss':
        raise ValueError('--count-padded-frames pads the clips of AVSS to 10 frames: it needs --dataset avss')
    for path in filter(None, (args.csv, args.out)):
        check_writable(path)
    classes = args.classes
    if args.num_classes:
        classes = ['background', *(f'class {i}' for i in range(1, args.num_classes))]
    with redirect_stdout(io.StringIO()):  # the tables of the log
        report = score_masks(
            args.ground_truth,
            args.predictions,
            list(_metrics(args, binary=len(classes) == 2 if classes else args.dataset in (None, 's4', 'ms3'))),
            dataset=args.dataset,
            split=args.split,
            classes=classes,
            soft=args.soft,
            ground_truth_encoding=args.gt_encoding,
            prediction_encoding=args.pred_encoding,
            off_palette=args.off_palette,
            resize=args.resize is not None,
            size=args.size,
            allow_missing=args.allow_missing)
    if args.out:
        write_json(args.out, report)
    if args.csv:
        rows = clip_rows(report)
        write_csv(args.csv, rows, list(rows[0]))
    if args.json:
        print(to_json(report))
        return
    stamp = report['stamp']
    for note in stamp['notes']:
        print(f'note: {note}', file=sys.stderr)
    print(f"{stamp['clips']} clips, {stamp['frames']} frames")
    for name, score in report['scores'].items():
        print(f"{name:35} {score:{'.0f' if '/frames_' in name else '.4f'}}")


def _metrics(args: argparse.Namespace, binary: bool) -> Iterable[dict[str, Any]]:
    """Configs of the metrics of the protocols."""
    for protocol in dict.fromkeys(args.protocol):
        if protocol == 'avsbench' and binary:
            yield dict(type='AVSBenchMetric', batch_size=args.batch_size)
        elif protocol == 'avsbench':
            yield dict(type='AVSSMetric', count_padded_frames=args.count_padded_frames)
        elif protocol == 'dataset':
            yield dict(type='DatasetMetric', preset=args.preset)
        elif protocol == 'robustness':
            yield dict(type='RobustnessMetric', batch_size=args.batch_size)
        else:
            yield dict(type='SwitchMetric')


def clip_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Scores of every clip in a row: clip, subset, frames, and ``prefix/name`` of each metric."""
    rows: dict[str, dict[str, Any]] = {}
    for prefix, details in report['details'].items():
        for clip in details['per_clip']:
            row = rows.setdefault(clip['clip'], {key: clip[key] for key in ('clip', 'subset', 'frames')})
            row.update({f'{prefix}/{key}': value for key, value in clip.items()
                        if key not in row and not isinstance(value, dict)})
    return list(rows.values())

"""``mmavs export``: write a model as ONNX or TorchScript."""
import argparse
import time

from .arguments import positive_int

DESCRIPTION = 'Write a model as one file that runs without mmavs, and compare it with PyTorch'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument('model', metavar='NAME', help='name of a model of the zoo, or config file')
    parser.add_argument('--weights', required=True, metavar='FILE',
                        help="checkpoint, or 'published' for the weights of the authors")
    parser.add_argument('--format', choices=('onnx', 'torchscript'), default='onnx', help='(default: onnx)')
    parser.add_argument('--out', metavar='FILE', help='file to write (default: NAME.onnx, NAME.pt)')
    parser.add_argument('--size', nargs=2, type=positive_int, metavar=('HEIGHT', 'WIDTH'),
                        help='size of the frames, if the config does not resize them')
    parser.add_argument('--tolerance', type=float, default=1e-3, metavar='SHARE',
                        help='largest difference of a score that is accepted, as a share of the largest score '
                        '(default: 0.001)')


def run(args: argparse.Namespace) -> None:
    """Export and print how exact the file is."""
    from mmavs.apis import export_model
    from mmavs.utils.terminal import quiet_libraries

    quiet_libraries()
    begin = time.monotonic()
    size = None if args.size is None else tuple(args.size)
    report = export_model(args.model, args.weights, args.format, args.out, size, args.tolerance)
    print(f'{report.path}: {report.path.stat().st_size / 2**20:.1f} MiB, for clips of any number of frames of '
          f'{report.frame_size[0]}x{report.frame_size[1]} (height x width), in {time.monotonic() - begin:.0f} s')
    print(f'largest difference from the scores of PyTorch: {report.difference:.2g}, of at most '
          f'{report.largest_score:.3g}; {report.same_class:.4%} of the pixels get the same class')

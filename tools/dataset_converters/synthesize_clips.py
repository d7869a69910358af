"""Make clips in the on-disk layout of an AVSBench subset."""
import argparse

from mmavs.datasets.synthesis import synthesize_clips


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('out', help='data root; the subset becomes a folder of it')
    parser.add_argument('--subset', choices=['s4', 'ms3', 'avss'], default='ms3')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--num-train', type=int, default=400)
    parser.add_argument('--num-val', type=int, default=40)
    parser.add_argument('--num-test', type=int, default=60)
    parser.add_argument('--size', type=int, default=224, help='side of the frames in pixels')
    parser.add_argument('--workers', type=int, default=1)
    return parser.parse_args()


if __name__ == '__main__':
    args = vars(parse_args())
    print(synthesize_clips(**args))

#!/usr/bin/env python
"""Draw the clips of a config after its pipeline: ``python tools/analysis_tools/browse_dataset.py CONFIG``.

Writes a contact sheet for each clip: frames, masks (and mask priors), and the spectrogram of the audio.
"""
import argparse
import sys
from pathlib import Path

from mmavs.cli.arguments import add_cfg_options, add_config, positive_int
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable_directory
from mmavs.utils.terminal import quiet_libraries

SPLITS = ('train', 'val', 'test')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Draw the clips of a config after its pipeline')
    add_config(parser)
    parser.add_argument('--split', choices=SPLITS, default='train', help='data loader of the clips (default: train)')
    parser.add_argument('--out-dir', metavar='DIR',
                        help='directory of the contact sheets (default: work_dirs/browse/NAME_OF_CONFIG/SPLIT)')
    parser.add_argument('--first', type=int, default=0, metavar='I', help='index of the first clip')
    parser.add_argument('--number', type=positive_int, default=8, metavar='N', help='clips to draw')
    parser.add_argument('--seed', type=int, default=0, help='seed of the augmentation')
    add_cfg_options(parser, example='train_dataloader.dataset.data_root=data/street')
    return parser.parse_args()


@cli_errors()
def main() -> None:
    args = parse_args()
    from mmengine.registry import init_default_scope

    from mmavs.audio.log_mel import SAMPLE_RATE
    from mmavs.datasets.samplers import SeededIndex
    from mmavs.registry import DATASETS
    from mmavs.utils.config import load_config
    from mmavs.utils.randomness import derive_seed
    from mmavs.visualization import AVSVisualizer

    quiet_libraries()
    out_dir = Path(args.out_dir or Path('work_dirs/browse', Path(args.config).stem, args.split))
    check_writable_directory(out_dir)
    config = load_config(args.config, args.cfg_options)
    init_default_scope('mmavs')
    dataset = DATASETS.build(config[f'{args.split}_dataloader'].dataset)
    if not 0 <= args.first < len(dataset):
        sys.exit(f'error: --first {args.first}: the split {args.split} has {len(dataset)} clips')
    visualizer = AVSVisualizer()
    visualizer.dataset_meta = dataset.metainfo
    for index in range(args.first, min(args.first + args.number, len(dataset))):
        clip = dataset[SeededIndex.draw(index, derive_seed(args.seed, index))]
        inputs, sample = clip['inputs'], clip['data_samples']
        images = {key: inputs[key].permute(0, 2, 3, 1) for key in ('frames', 'mask_prior') if key in inputs}
        audio = {key: inputs[key] for key in ('waveform', 'log_mel') if key in inputs}
        title = f'{sample.clip_id}  {args.split}  {"x".join(map(str, sample.img_shape))}'
        for name, frames in images.items():
            suffix = '' if name == 'frames' else f'_{name}'
            file = out_dir / f"{index:05d}_{sample.clip_id.replace('/', '_')}{suffix}.png"
            visualizer.add_datasample(title, frames, sample, **audio, rate=SAMPLE_RATE, out_file=file)
            print(file, flush=True)


if __name__ == '__main__':
    main()

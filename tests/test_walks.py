"""The walks of a newcomer: every command of the pages runs in their order, and leaves the files that they name."""
import csv
import json
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from avsbench_tree import random_frame, write_image, write_ms3, write_wav
from doc_pages import REPOSITORY, blocks, file_blocks, make_checkout, run_shell
from mmengine.config import Config
from PIL import Image
from small_models import FRAME, small_config
from test_videos import write_test_video

from mmavs.analysis import method_comparison
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.datasets.clip_extraction import read_splits
from mmavs.registry import MODELS
from mmavs.utils.zoo import read_zoo

# Two steps with validation, for configs that state their length.
STEPS = ['train_dataloader.batch_size=1', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
         'param_scheduler.0.end=3', 'default_hooks.checkpoint.interval=2', 'default_hooks.logger.interval=1']


def write_small_configs(root: Path, paths: Sequence[str]) -> None:
    """Write the configs of the repository, those of the ``paths`` with a small model, few steps and no workers."""
    shutil.copytree(REPOSITORY / 'configs', root / 'configs')
    for path in paths:
        config = Config.fromfile(REPOSITORY / path)
        config.model = small_config(REPOSITORY / path)
        for split in ('train', 'val', 'test'):
            loader = config[f'{split}_dataloader']
            shrink_sizes(loader.dataset.pipeline)
            loader.update(num_workers=0, persistent_workers=False)
        if 'max_iters' in config.train_cfg:
            config.train_cfg.update(max_iters=2, val_interval=2)
        else:
            config.train_cfg.update(max_epochs=1)
        config.dump(root / path)


def shrink_sizes(pipeline: list[dict]) -> None:
    """Scale the sizes of all transforms to the input of the small models."""
    for step in pipeline:
        shrink_sizes(step.get('transforms', []))
        for key in ('scale', 'crop_size', 'size'):
            if key in step:
                step[key] = tuple(side * FRAME // 224 for side in step[key])
        if 'scales' in step:
            step['scales'] = [tuple(side * FRAME // 224 for side in scale) for scale in step['scales']]


class Walk:
    """The shell lines of a page, run one block after another in the current directory, with small models.

    Args:
        page: Its path below docs.
        configs: The published configs that it uses.
        run_tool: The fixture.
    """

    def __init__(self, page: str, configs: Sequence[str], run_tool: Callable) -> None:
        self.text, self.run_tool = (REPOSITORY / 'docs' / page).read_text(), run_tool
        write_small_configs(Path(), configs)
        self.files = file_blocks(self.text)
        make_checkout(Path(), self.files)
        self.shell = [code for language, code in blocks(self.text) if language == 'bash']

    def step(self, *words: str, **values: str) -> None:
        """Run the next block, which contains the words, with values for its placeholders."""
        code = self.shell.pop(0)
        assert all(word in code for word in (*words, *values)), code
        for placeholder, value in values.items():
            code = code.replace(placeholder, value)
        run_shell(code, self.run_tool, self.options)

    def options(self, tool: str) -> list[str]:
        if tool == 'analysis_tools/compare_methods':
            return ['--seeds', '0']
        return ['--cfg-options', *STEPS] if tool == 'train' and self.files else []

    def table(self, header: str) -> list[dict]:
        """Read a CSV file that the page shows."""
        text, = re.findall(rf'^ *```\n( *{header}\n.*?)```', self.text, re.DOTALL | re.MULTILINE)
        return list(csv.DictReader(line.strip() for line in text.strip().splitlines()))


@pytest.fixture
def walk(tmp_path, run_tool, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda page, *configs: Walk(page, configs, run_tool)


def write_pets(root: Path, rows: list[dict], labelled: bool) -> None:
    """Write clips in the layout of AVSS: a square of class 1, 2 or 3 in each frame."""
    rng = np.random.default_rng(0)
    for i, row in enumerate(rows):
        clip = root / row['label'] / row['uid']
        for frame in range(5):
            write_image(clip / f'frames/{frame}.jpg', random_frame(rng, 40, 60))
            if labelled:
                mask = np.zeros((40, 60), np.uint8)
                mask[10:30, 10:40] = 1 + i % 3
                write_image(clip / f'labels_semantic/{frame}.png', mask)
        write_wav(clip / 'audio.wav')
    (root / 'metadata.csv').write_text('\n'.join(['uid,split,label', *(','.join(row.values()) for row in rows)]))


def make_parents(path: str) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return Path(path)


def values(masks: list[Path]) -> set[int]:
    return {value for path in masks for value in np.unique(np.asarray(Image.open(path)))}


def test_own_images(walk, capsys):
    base = 'configs/vct/vct_r50-224_avss.py'
    page = walk('get_started/own_images.md', base)
    write_pets(Path('data/pets'), page.table('uid,split,label'), labelled=True)
    write_pets(Path('data/new_pets'), [dict(uid='attic_01', split='test', label='v1m')], labelled=False)

    page.step('check_dataset')
    assert '0 problem(s) found in data/pets' in capsys.readouterr().err
    page.step('browse_dataset')
    assert len(list(Path('sheets/train').glob('*.png'))) == 2

    page.step('train.py')
    best, = Path('work_dirs/pets').glob('best_avsbench_M_J_iter_*.pth')
    assert list(Path('work_dirs/pets').glob('*/vis_data/scalars.json')) and Path('work_dirs/pets/iter_2.pth').is_file()
    assert read_checkpoint(best)['meta']['trained_for']['classes'] == ['background', 'dog', 'cat', 'bird']

    torch.save(dict(state_dict=MODELS.build(Config.fromfile(base).model).state_dict()),
               make_parents('work_dirs/vct_r50-224_avss/iter_45000.pth'))
    page.step('allow_new_classifier')
    log, = Path('work_dirs/pets_from_avss').glob('*/*.log')
    assert re.search('not loaded, because the classes are new: .*class_embed', log.read_text())
    assert Path('work_dirs/pets_from_avss/iter_2.pth').is_file()

    page.step('--out metrics.json')
    clip, = json.loads(Path('metrics.json').read_text())['details']['avsbench']['per_clip']
    assert clip['clip'] == 'v1m/street_01' and len(list(Path('sheets/test').iterdir())) == 1

    page.step('--predict-only')
    masks = sorted(Path('masks/v1m/attic_01').iterdir())
    assert [mask.name for mask in masks] == [f'0000{i}.png' for i in range(5)] and values(masks) <= set(range(4))
    assert Image.open(masks[0]).size == (60, 40)
    assert not page.shell

    python, = (code for language, code in blocks(page.text) if language == 'python' and code.startswith('import'))
    scope = {}
    exec(python.replace('iter_1500', 'iter_2'), scope)
    assert scope['sample'].pred_sem_seg.shape == (5, 40, 60)
    np.testing.assert_array_equal(scope['sample'].pred_sem_seg[0], np.asarray(Image.open(masks[0])))


def test_own_videos(walk, capsys):
    page = walk('get_started/own_videos.md', 'configs/vct/vct_r50-224_ms3.py')
    seconds = {'videos/dog.mp4': 11, 'videos/cat.mp4': 5, 'videos/fair.mp4': 6, 'new_videos/new.mp4': 5}
    for path in seconds:
        write_test_video(make_parents(path), seconds[path])

    page.step('--out data/own_videos')
    assert '4 clip(s) written in data/own_videos, 0 kept as they were, 0 problem(s)' in capsys.readouterr().err
    with open('data/own_videos/ms3_meta_data.csv') as file:
        clips = {row['video_id']: row for row in csv.DictReader(file)}
    assert list(clips['dog_00005']) == ['video_id', 'split', 'video', 'start']
    assert sorted({row['split'] for row in clips.values()}) == ['test', 'train', 'val']
    assert clips['dog_00000']['split'] == clips['dog_00005']['split']
    for name, row in clips.items():
        frames = [Path(f'data/own_videos/ms3_data/visual_frames/{name}/{name}.mp4_{j}.png') for j in range(1, 6)]
        assert Path(f"data/own_videos/ms3_data/audio_wav/{row['split']}/{name}.wav").is_file()
        for j, frame in enumerate(frames, 1):
            mask = np.zeros(np.asarray(Image.open(frame)).shape[:2], np.uint8)
            mask[10:30, 10:40] = 255
            write_image(Path(f"masks/{Path(row['video']).stem}/{int(row['start']) + j - 1}.png"), mask)

    page.step('--masks masks')
    assert '4 got their masks' in capsys.readouterr().err
    assert len(list(Path('data/own_videos/ms3_data/gt_masks').glob('*/*/*_[1-5].png'))) == 20
    page.step('check_dataset')
    assert '0 problem(s) found in data/own_videos' in capsys.readouterr().err

    page.step('train.py', 'test.py')
    scored = json.loads(Path('metrics.json').read_text())['details']['avsbench']['per_clip']
    tested = [name for name, row in clips.items() if row['split'] == 'test']
    assert [clip['clip'] for clip in scored] == tested and len(list(Path('sheets').iterdir())) == len(tested)

    page.step('new_videos', '--predict-only')
    masks = sorted(Path('masks_of_new_videos/new_00000').iterdir())
    assert masks[0].name == '00000.png' and len(masks) == 5 and values(masks) <= {0, 255}
    assert Image.open(masks[0]).size == (64, 48)
    assert not page.shell

    with open('splits.csv', 'w') as file:
        file.writelines(f"{row['video']},{row['split']}\n" for row in [dict(video='video', split='split'),
                                                                      *page.table('video,split')])
    split_of = read_splits('splits.csv')
    assert [split_of(Path('videos', name)) for name in ('dog.mp4', 'fair.mp4')] == ['train', 'val']


class SameProcess:
    """A ProcessPoolExecutor without processes."""

    def __init__(self, *options: object) -> None:
        pass

    def __enter__(self) -> 'SameProcess':
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def submit(self, function: Callable, *arguments: object) -> Future:
        future = Future()
        future.set_result(function(*arguments))
        return future


def test_paper(walk, capsys, monkeypatch):
    configs = ('configs/vct/vct_r50-224_ms3.py', 'configs/avsegformer/avsegformer_r50_ms3.py')
    page = walk('user_guides/paper.md', *configs)
    write_ms3(Path('data/AVSBench/Multi-sources'), 2)
    # Names of models stand for the small ones.
    for path in map(Path, configs):
        monkeypatch.setitem(read_zoo(), path.stem, replace(read_zoo()[path.stem], config=path.resolve()))

    # Two seeds in place of three.
    page.step('randomness.seed=$seed', **{'0 1 2': '0 1'})
    reports = {path: json.loads(path.read_text()) for path in Path('work_dirs/paper').glob('*/*/metrics.json')}
    assert len(reports) == 4
    assert all(path.parts[-2] == f"seed{report['stamp']['training']['seed']}" for path, report in reports.items())
    page.step('analyze_logs')
    assert Path('curves.png').is_file()

    capsys.readouterr()
    page.step('collect_results')
    assert capsys.readouterr().out == Path('table.md').read_text()
    assert Path('table.md').read_text().startswith('| method | seeds | M_J | vs. AVSegFormer | M_F | vs. AVSegFormer |')
    mean = np.mean([100 * report['scores']['avsbench/M_J'] for path, report in reports.items() if 'vct' in str(path)])
    latex = Path('table.tex').read_text()
    assert re.search(rf'VCT & 2 & \$(\\mathbf{{)?{mean:.1f} \\pm', latex) and r'\begin{tabular}' in latex
    rows = list(csv.DictReader(Path('table.csv').read_text().splitlines()))
    assert float(rows[0]['mean']) == pytest.approx(mean) and 0 <= float(rows[0]['p']) <= 1

    monkeypatch.setattr('concurrent.futures.ProcessPoolExecutor', SameProcess)
    monkeypatch.setattr(method_comparison, 'measure_cost', partial(method_comparison.measure_cost, repeats=1))
    page.step('compare_methods')
    table = Path('work_dirs/compare/comparison.md').read_text()
    assert all(word in table for word in ('vct_r50-224_ms3', 'M_J swapped', 'params (M)', 'GFLOPs'))
    assert Path('work_dirs/compare/comparison.json').is_file()

    page.step('draw_comparison', CLIP_ID='test_0')
    assert Path('comparison.pdf').is_file()
    page.step('confusion_matrix')
    assert Path('confusion.pdf').is_file()
    assert not page.shell

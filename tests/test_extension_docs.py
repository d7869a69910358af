"""Run every example of the pages in docs/extend exactly as on the page."""
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmavs.checkpoint.reading import read_checkpoint
from mmavs.synthesis import synthesize_clips

REPOSITORY = Path(__file__).parents[1]
PAGE = '\n'.join(path.read_text() for path in sorted((REPOSITORY / 'docs/extend').glob('*.md')))
FILES = re.findall(r'```python\n# (\S+)\n(.*?)```', PAGE, re.DOTALL)
CONFIGS = re.findall(r'```bash\nPYTHONPATH=\. python tools/train\.py (\S+)\n```', PAGE)
# A run of two steps in this process, with validation.
SHORT = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'param_scheduler.1.end=21',
         'default_hooks.checkpoint.interval=2', 'default_hooks.logger.interval=1'] + [
             f'{split}_dataloader.{option}' for split in ('train', 'val')
             for option in ('num_workers=0', 'persistent_workers=False')]


def write_street(root: Path) -> None:
    """Write the directory tree of docs/extend/dataset.md: clips of 2 and 3 frames in each split."""
    rng, rows = np.random.default_rng(0), ['name,split']
    for split in ('train', 'val', 'test'):
        for num_frames in (2, 3):
            name = f'{split}-{num_frames}'
            rows.append(f'{name},{split}')
            for kind in ('frames', 'masks'):
                (root / kind / name).mkdir(parents=True)
            for t in range(num_frames):
                Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(root / f'frames/{name}/{t}.jpg')
                Image.fromarray(rng.integers(0, 3, (40, 60), np.uint8)).save(root / f'masks/{name}/{t}.png')
            (root / 'sounds').mkdir(exist_ok=True)
            soundfile.write(root / f'sounds/{name}.wav', rng.normal(0, 0.1, num_frames * 16000).clip(-1, 1), 16000)
    (root / 'clips.csv').write_text('\n'.join(rows))


@pytest.fixture(scope='module')
def checkout(tmp_path_factory) -> Path:
    """A directory with the layout of the repository, and with the files and data of the pages."""
    root = tmp_path_factory.mktemp('checkout')
    for name in ('configs', 'tools'):
        (root / name).symlink_to(REPOSITORY / name)
    for path, content in FILES:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(content)
    synthesize_clips(root / 'data/synthetic', 'avss', 2, 1, 0, size=64)
    write_street(root / 'data/street')
    return root


def test_pages_have_an_example_of_each_kind():
    assert len(CONFIGS) == 4 and len(FILES) == 8
    assert set(CONFIGS) < {path for path, _ in FILES}
    synthesize = re.search(r'python (tools/\S+) data/synthetic --subset avss', PAGE)
    assert (REPOSITORY / synthesize[1]).is_file()


@pytest.mark.parametrize('config', CONFIGS)
def test_example_trains_and_is_scored(config, checkout, run_tool, monkeypatch):
    monkeypatch.chdir(checkout)
    monkeypatch.syspath_prepend(str(checkout))
    work_dir = checkout / 'work_dirs' / Path(config).stem
    run_tool('train', config, '--cfg-options', *SHORT)
    assert read_checkpoint(work_dir / 'iter_2.pth')['meta']['iter'] == 2
    scalars = (next(work_dir.glob('*/vis_data/scalars.json'))).read_text()
    assert len(re.findall('"loss": [0-9.]+', scalars)) == 2 and '"avsbench/M_J": ' in scalars


@pytest.mark.parametrize('path', [path for path in re.findall(r'`((?:configs|tests|tools|mmavs)/[\w./-]+)`', PAGE)])
def test_pages_name_files_that_exist(path):
    assert (REPOSITORY / path).exists()


def test_short_listings_match_the_files():
    listings = re.findall(r'`(configs/\S+\.py)` for example:\n\n```\n(.*?)```', PAGE, re.DOTALL)
    assert len(listings) == 2
    for path, listing in listings:
        assert listing in (REPOSITORY / path).read_text()

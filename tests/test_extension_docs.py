"""Run every example of the pages in docs/extend exactly as on the page."""
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from doc_pages import REPOSITORY, SHORT, blocks, file_blocks, make_checkout, run_shell
from PIL import Image

from mmavs.checkpoint.reading import read_checkpoint
from mmavs.synthesis import synthesize_clips

PAGE = '\n'.join(path.read_text() for path in sorted((REPOSITORY / 'docs/extend').glob('*.md')))
FILES = file_blocks(PAGE)
TRAININGS = {match[1]: code for _, code in blocks(PAGE)
             if (match := re.fullmatch(r'PYTHONPATH=\. python tools/train\.py (\S+)\n', code))}


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
    root = make_checkout(tmp_path_factory.mktemp('checkout'), FILES)
    synthesize_clips(root / 'data/synthetic', 'avss', 2, 1, 0, size=64)
    write_street(root / 'data/street')
    return root


def test_pages_have_an_example_of_each_kind():
    assert len(TRAININGS) == 4 and len(FILES) == 8
    assert set(TRAININGS) < {path for path, _ in FILES}
    synthesize = re.search(r'python (tools/\S+) data/synthetic --subset avss', PAGE)
    assert (REPOSITORY / synthesize[1]).is_file()


@pytest.mark.parametrize('config', TRAININGS)
def test_example_trains_and_is_scored(config, checkout, run_tool, monkeypatch):
    monkeypatch.chdir(checkout)
    monkeypatch.syspath_prepend(str(checkout))
    work_dir = checkout / 'work_dirs' / Path(config).stem
    run_shell(TRAININGS[config], run_tool, lambda tool: ['--cfg-options', *SHORT])
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

"""The package as a wheel: it contains configs and tools, and works without the checkout."""
import email
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from mmavs.version import __version__

REPOSITORY = Path(__file__).parents[1]
SOURCES = ('mmavs', 'configs', 'demo', 'tools', 'requirements')
FILES = (
    'setup.py', 'pyproject.toml', 'setup.cfg', 'MANIFEST.in', 'model-index.yml', 'README.md', 'CHANGELOG.md',
    'CONTRIBUTING.md', 'LICENSE')

# Runs in the environment of the wheel, in an empty directory.
SCRIPT = """
import sys, warnings
warnings.filterwarnings('ignore')
from pathlib import Path
import numpy as np, torch
import mmavs
from mmavs.apis import get_model, inference_clip, init_model, list_models
from mmavs.utils.config import load_config
from mmavs.utils.zoo import zoo_root

torch.set_num_threads(1)
checkout, root = sys.argv[1], zoo_root()
assert root == Path(mmavs.__file__).parent / '.mim' and Path(sys.prefix) in root.parents, root
assert {'vct_swin-b_avss', 'tpavi_r50_s4'} <= set(list_models()) and 'M_J 52.5' in str(list_models())

def segment(model):
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    return inference_clip(model, frames, rng.uniform(-0.5, 0.5, 16000).astype(np.float32), 16000,
                          outputs=('pred_sem_seg', 'seg_logits'))

# A small model with a checkpoint
config = root / 'configs/vct/vct_tiny_synthetic.py'
torch.manual_seed(0)
model = init_model(config)
torch.save(dict(state_dict=model.state_dict()), 'tiny.pth')
loaded = segment(init_model(config, 'tiny.pth'))
assert loaded.pred_sem_seg.shape == (1, 32, 48)
assert torch.equal(loaded.seg_logits, segment(model).seg_logits)

# A model of the zoo by name
sample = segment(init_model('tpavi_r50_avss'))
assert sample.seg_logits.shape == (1, 71, 32, 48) and sample.seg_logits.isfinite().all()

seen = [str(path) for path in sys.path] + [str(getattr(m, '__file__', '')) for m in sys.modules.values()]
assert not [path for path in seen if Path(path).is_relative_to(checkout) and 'site-packages' not in path], seen
print('works')
"""


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel of this checkout, built from a copy, without a network."""
    source = tmp_path_factory.mktemp('source')
    for name in SOURCES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
    for name in FILES:
        shutil.copy(REPOSITORY / name, source / name)
    command = [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-index', '--no-deps', '--no-build-isolation',
               '--disable-pip-version-check', '--wheel-dir', str(source / 'dist'), str(source)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return next((source / 'dist').glob('mmavs-*.whl'))


def test_the_wheel_holds_every_config_and_tool_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    carried = {f'mmavs/.mim/{path.relative_to(REPOSITORY)}' for directory in ('configs', 'demo', 'tools')
               for path in (REPOSITORY / directory).rglob('*') if path.is_file() and '__pycache__' not in path.parts}
    assert {name for name in names if name.startswith('mmavs/.mim/')} == carried | {'mmavs/.mim/model-index.yml'}
    assert {name.split('/')[0] for name in names if '.dist-info/' not in name} == {'mmavs'}
    modules = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / 'mmavs').rglob('*.py')}
    assert modules | {'mmavs/py.typed'} <= names


def test_the_description_has_no_relative_links(wheel):
    with zipfile.ZipFile(wheel) as files:
        name, = (name for name in files.namelist() if name.endswith('.dist-info/METADATA'))
        metadata = email.message_from_bytes(files.read(name))
    links = re.findall(r'\]\(([^)]+)\)', metadata.get_payload())
    assert links and all(link.startswith(('https://', '#')) for link in links), links
    # The metadata of a release names what pyproject.toml reads from other files.
    requirements = metadata.get_all('Requires-Dist')
    assert 'onedl-mmcv' in ' '.join(r for r in requirements if 'extra == "mminstall"' in r)
    assert any(r.startswith('torch>=') for r in requirements)


def test_links_of_the_description_lead_to_the_repository(monkeypatch):
    monkeypatch.setattr('setuptools.setup', lambda **kwargs: None)
    long_description = runpy.run_path(str(REPOSITORY / 'setup.py'))['long_description']
    text = long_description('https://example.org/mmavs')
    assert '![Test clips of the demo' in text
    assert '](https://example.org/mmavs/raw/main/docs/images/contact_sheet.png)' in text
    assert '](https://example.org/mmavs/blob/main/docs/user_guides/data.md#prepare-avsbench)' in text
    assert not re.search(r'\]\((?!https:|#)', text)


def test_the_installed_wheel_works_without_the_checkout(wheel, tmp_path):
    environment, elsewhere = tmp_path / 'venv', tmp_path / 'elsewhere'
    elsewhere.mkdir()
    venv.create(environment, with_pip=False)
    site = next(environment.glob('lib/python*/site-packages'))
    subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps',
                    '--disable-pip-version-check', '--target', str(site), str(wheel)], check=True)
    environ = {key: value for key, value in os.environ.items() if not key.startswith('PYTHON')}
    # The console script that pip has made; --version needs no library.
    command = [str(environment / 'bin/python'), str(site / 'bin/mmavs'), '--version']
    version = subprocess.run(command, cwd=elsewhere, env=environ, capture_output=True, text=True)
    assert (version.returncode, version.stdout, version.stderr) == (0, f'mmavs {__version__}\n', '')
    # The libraries of this environment, without what its own .pth files add: the checkout in editable mode.
    (site / 'libraries.pth').write_text(sysconfig.get_path('purelib') + '\n')
    run = subprocess.run([str(environment / 'bin/python'), '-c', SCRIPT, str(REPOSITORY)], cwd=elsewhere,
                         env=environ | dict(OMP_NUM_THREADS='1'), capture_output=True, text=True)
    assert run.stdout.endswith('works\n'), run.stdout + run.stderr


def test_an_environment_for_a_cpu_takes_pytorch_from_its_index_first():
    steps = runpy.run_path(str(REPOSITORY / 'tools/setup_env.py'))['installation_steps']
    usual, cpu = steps(None), steps('ADDRESS')
    assert [step for step in cpu if step not in usual] == [cpu[1]]
    name, packages, variables = cpu[1]
    assert set(packages) == {'torch', 'torchaudio', 'torchvision'}
    assert variables == dict(PIP_INDEX_URL='ADDRESS')
    assert 'runtime.txt' in str(cpu[2])
    assert not any(variables for _, _, variables in usual)


def test_an_environment_for_a_cpu_needs_the_address_of_its_wheels(tmp_path):
    environ = {key: value for key, value in os.environ.items() if key != 'TORCH_CPU_INDEX'}
    command = [sys.executable, str(REPOSITORY / 'tools/setup_env.py'), '--cpu', str(tmp_path / 'venv')]
    run = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert run.returncode == 1 and 'TORCH_CPU_INDEX is not set' in run.stderr
    assert not (tmp_path / 'venv').exists()

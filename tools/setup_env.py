"""Set up a virtual environment with the reference versions and mmavs in editable mode; reuse it while it is current.

Run by ``make env`` with any Python from 3.10 on; imports the standard library only.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

# Variable with the address of PyTorch's wheels without CUDA, which PyPI has for macOS and Windows only.
CPU_INDEX_VARIABLE = 'TORCH_CPU_INDEX'
ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'requirements'
STEPS = [
    ('pip', ['--upgrade', 'pip', 'wheel', 'setuptools<82']),
    ('PyTorch and the runtime', ['-r', REQUIREMENTS / 'runtime.txt']),
    ('OpenMMLab', ['-r', REQUIREMENTS / 'mminstall.txt']),
    ('packages for tests and docs, and optional ones',
     [x for name in ('tests', 'docs', 'optional', 'ray', 'web') for x in ('-r', REQUIREMENTS / f'{name}.txt')]),
    ('mmavs', ['--no-deps', '--no-build-isolation', '--editable', ROOT]),
]


def current_state(cpu: bool) -> dict:
    """Return what the environment depends on: Python, the path of this checkout, requirements, kind of PyTorch."""
    files = [*sorted(REQUIREMENTS.glob('*.txt')), ROOT / 'setup.py', ROOT / 'pyproject.toml', Path(__file__).resolve()]
    digest = hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()
    return dict(python='.'.join(map(str, sys.version_info[:3])), root=str(ROOT), requirements=digest, cpu=cpu)


def read_stamp(stamp: Path) -> dict | None:
    """Return the state recorded by the last complete installation, or None."""
    try:
        return json.loads(stamp.read_text())
    except (OSError, ValueError):
        return None


def create(venv: Path) -> None:
    command = [sys.executable, '-m', 'venv', '--clear', str(venv)]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        sys.exit(f'{result.stdout}\n{" ".join(command)} failed: the venv module and pip must be installed '
                 '(on Debian and Ubuntu: the package python3-venv)')


def installation_steps(cpu_index: str | None) -> list[tuple[str, list, dict]]:
    """Names of the steps, arguments and variables of pip.

    Args:
        cpu_index: Address of PyTorch's wheels without CUDA, which are then installed first; None for those with CUDA.
    """
    steps = [(name, arguments, {}) for name, arguments in STEPS]
    if cpu_index is not None:
        packages = ['torch', 'torchaudio', 'torchvision']
        steps.insert(1, ('PyTorch without CUDA', packages, dict(PIP_INDEX_URL=cpu_index)))
    return steps


def install(venv: Path, cpu_index: str | None) -> None:
    # Without build isolation, mmcv would find torch and compile its ops.
    env = {key: value for key, value in os.environ.items() if key != 'PIP_NO_BUILD_ISOLATION'}
    pip = [str(venv / 'bin/python'), '-m', 'pip', '--disable-pip-version-check', 'install', '--quiet']
    constraints = ['--constraint', str(REQUIREMENTS / 'constraints.txt')]
    for name, arguments, variables in installation_steps(cpu_index):
        start = time.time()
        print(f'environment: installing {name} ...', end=' ', flush=True)
        result = subprocess.run([*pip, *constraints, *map(str, arguments)], env=env | variables, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if result.returncode:
            sys.exit(f'failed\n{result.stdout}\n{venv} is incomplete and will be recreated next time.')
        print(f'{time.time() - start:.0f} s', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('venv', type=Path, help='directory of the virtual environment')
    parser.add_argument('--cpu', action='store_true',
                        help=f'install PyTorch without CUDA, a much smaller download, from {CPU_INDEX_VARIABLE}')
    args = parser.parse_args()
    venv = args.venv
    if sys.version_info < (3, 10):  # noqa: UP036
        sys.exit(f'mmavs needs Python 3.10 or later, {sys.executable} is {sys.version.split()[0]}: '
                 'choose another one, for example make PYTHON=python3.12')

    stamp, state = venv / 'mmavs-environment.json', current_state(args.cpu)
    installed = read_stamp(stamp)
    if installed == state and (venv / 'bin/python').exists():
        return
    cpu_index = os.environ.get(CPU_INDEX_VARIABLE) if args.cpu else None
    if args.cpu and not cpu_index:
        sys.exit(f'{CPU_INDEX_VARIABLE} is not set: set it to the address of the wheels that the installation page of '
                 'PyTorch names for the compute platform CPU')
    print(f'environment: setting up {venv}', flush=True)
    # Without a stamp, an installation was interrupted; an environment of another Python, or with another kind of
    # PyTorch, cannot be updated in place.
    if installed is None or any(installed.get(key, False) != state[key] for key in ('python', 'cpu')):
        create(venv)
    stamp.unlink(missing_ok=True)
    install(venv, cpu_index)
    stamp.write_text(json.dumps(state))
    print(f'environment: {venv} is ready', flush=True)


if __name__ == '__main__':
    main()

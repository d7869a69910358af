#!/usr/bin/env python
"""Check mmavs on a GPU in one call, without a network: ``tools/benchmarks/gpu_check.sh [OUT]``.

Runs the steps in order of worth, each in a process of its own with its own time limit, and ends
before ``--minutes`` are over. Every result goes at once to ``OUT/results.json``, all output to ``OUT/log.txt``. A step
that fails or runs out of time does not stop the later ones.

Needs the standard library only: the packages that a bare machine lacks come from the directory that
``pack_gpu_check.sh`` makes. Without that directory the packages of the environment are used.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import traceback
from functools import partial
from pathlib import Path

from gpu_results import REPOSITORY, Results, SkippedError, one_line

MINUTES = 9
# Steps in order of worth and the most seconds that each may take, of 9 minutes. The sum is larger: a step that ends
# early leaves its time to the later ones.
LIMITS = dict(install=60, ops=150, deformable=60, parity=110, configs=120, training=100, batch_24gb=50, benchmark=180,
              inference=60)
SHORTEST = 5  # seconds that must be left for a step to be started
LINES_OF_A_FAILURE = 12


def parse_args() -> argparse.Namespace:
    """Read the command line, the same for the whole check and for the process of a step."""
    parser = argparse.ArgumentParser(description='Check mmavs on a GPU: what fails, what differs, how fast it is')
    parser.add_argument('out', nargs='?', default='work_dirs/gpu_check/results', help='directory of the results')
    parser.add_argument('--pack', default='gpu_pack', help='directory made by pack_gpu_check.sh')
    parser.add_argument('--work-dir', default='work_dirs/gpu_check/work', help='directory of what may be deleted')
    parser.add_argument('--device', default=os.environ.get('DEVICE', 'cuda'),
                        help='cpu: try the check out with small models')
    parser.add_argument('--minutes', type=float, default=MINUTES, help='time for everything; the limits scale with it')
    parser.add_argument('--steps', nargs='+', choices=list(LIMITS), default=list(LIMITS), help='default: all')
    parser.add_argument('--run-step', choices=list(LIMITS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in ('out', 'pack', 'work_dir'):
        setattr(args, name, Path(getattr(args, name)).resolve())
    return args


def main() -> None:
    """Run one step, or all of them one after the other."""
    args = parse_args()
    results = Results(args.out / 'results.json')
    if args.run_step:
        sys.exit(run_step(args, results))
    deadline = time.monotonic() + args.minutes * 60
    args.out.mkdir(parents=True, exist_ok=True)
    args.work_dir.mkdir(parents=True, exist_ok=True)
    for name in ('results.json', 'log.txt'):
        (args.out / name).unlink(missing_ok=True)
    results.stamp(started=time.strftime('%Y-%m-%d %H:%M', time.gmtime()), device=args.device, minutes=args.minutes,
                  command=' '.join(['tools/benchmarks/gpu_check.sh', *sys.argv[1:]]))
    for name in args.steps:
        left = deadline - time.monotonic()
        if left < SHORTEST:
            results.update(name, status='not run', reason='no time was left')
        else:
            supervise(name, min(LIMITS[name] * args.minutes / MINUTES, left), args, results)
        step = results.read()['steps'][name]
        print(f"{name:11} {step['status']:8} {step.get('seconds', 0):6.1f} s  {step.get('reason', '')}", flush=True)
    print(f"results: {results.file}")


def supervise(name: str, limit: float, args: argparse.Namespace, results: Results) -> None:
    """Run a step in a process, stop it with all its children when its time is over, and record how it ended."""
    results.update(name, status='running', limit=round(limit))
    command = [sys.executable, __file__, *sys.argv[1:], '--run-step', name]
    start = time.monotonic()
    log_file = args.out / 'log.txt'
    with log_file.open('a') as log:
        print(f'\n== {name}', file=log, flush=True)
        beginning = log.tell()
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment(args), stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        in_time = False
        try:
            process.wait(limit)
            in_time = True
        except subprocess.TimeoutExpired:
            pass
        finally:
            stop_group(process)
    results.update(name, seconds=round(time.monotonic() - start, 1))
    if not in_time:
        results.update(name, status='timeout', reason=f'stopped after {limit:.0f} s')
    elif results.read()['steps'][name]['status'] == 'running':  # killed for its memory for example
        results.update(name, status='failed', reason=f'its process ended with {process.returncode}')
    if results.read()['steps'][name]['status'] in ('failed', 'timeout'):
        with log_file.open(errors='replace') as log:
            log.seek(beginning)
            lines = log.read().splitlines()
        print('\n'.join(f'  | {line[:300]}' for line in lines[-LINES_OF_A_FAILURE:]))


def stop_group(process: subprocess.Popen) -> None:
    """End a process with all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def environment(args: argparse.Namespace) -> dict[str, str]:
    """The environment of a step: packages and programs of the pack first, then the checkout; no downloads."""
    site = args.work_dir / 'site'
    python_path = [str(site), str(REPOSITORY), os.environ.get('PYTHONPATH', '')]
    path = [str(site / 'bin'), str(Path(sys.executable).parent), os.environ.get('PATH', '')]
    return dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, python_path)), PATH=os.pathsep.join(path),
                PYTHONWARNINGS='ignore', PYTHONUNBUFFERED='1', HF_HUB_OFFLINE='1',
                PYTHONDONTWRITEBYTECODE='',  # every step imports the same packages
                TORCHINDUCTOR_CACHE_DIR=str(args.work_dir / 'inductor'))


def run_step(args: argparse.Namespace, results: Results) -> int:
    """Run a step in this process; its result is recorded by the step itself, its end here."""
    name = args.run_step
    try:
        if name in LIGHT_STEPS:
            step = LIGHT_STEPS[name]
        else:
            import gpu_steps
            if 'torch' not in results.read()['stamp']:
                results.stamp(**gpu_steps.describe_machine(args.device))
            step = getattr(gpu_steps, name)
        step(args, partial(results.update, name))
    except SkippedError as error:
        results.update(name, status='skipped', reason=str(error))
    except BaseException as error:
        traceback.print_exc()
        results.update(name, status='failed', reason=one_line(error))
        return 1
    else:
        results.update(name, status='ok')
    return 0


def install(args: argparse.Namespace, record: partial) -> None:
    """Install the packed wheels, and mmcv, into a directory of their own; the Python environment stays as it is.

    mmcv comes as its source distribution, which is unpacked: its Python part needs no building, and where PyTorch is
    importable, pip would compile all of its ops. A wheel of mmcv with compiled ops replaces it if one was packed.
    """
    wheels = sorted(args.pack.glob('wheels/*.whl'))
    if not wheels:
        raise SkippedError(f'no wheels in {args.pack.name}: the packages of the environment are used')
    site = args.work_dir / 'site'
    shutil.rmtree(site, ignore_errors=True)
    subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps', '--no-compile',
                    '--disable-pip-version-check', '--root-user-action', 'ignore', '--target', str(site),
                    *map(str, wheels)], check=True)
    if not (site / 'mmcv').is_dir():
        [archive] = args.pack.glob('onedl_mmcv-*.tar.gz')
        with tarfile.open(archive) as tar:
            for member in tar:
                member.name = member.name.partition('/')[2]
                if member.name.startswith(('mmcv/', 'onedl_mmcv.egg-info/')):
                    tar.extract(member, site, filter='data')
    record(packages=[wheel.name for wheel in wheels])


def ops(args: argparse.Namespace, record: partial) -> None:
    """Compile mmcv's CUDA deformable attention, unless it is there already."""
    from build_deformable_op import build_op, has_op
    if has_op():
        record(built='was there already')
        return
    if shutil.which('nvcc') is None:
        raise SkippedError('no nvcc: the CUDA toolkit of the release that PyTorch was built for compiles the op')
    package = args.work_dir / 'site/mmcv'
    if not package.is_dir():
        raise SkippedError('mmcv is not that of the pack: install it with its ops')
    start = time.monotonic()
    compiler = build_op(package, args.work_dir / 'build')
    record(built='compiled', compile_seconds=round(time.monotonic() - start, 1), **compiler)
    if not has_op():
        raise RuntimeError('the extension was compiled, but mmcv.ops does not offer its op')


# Steps that do without mmavs.
LIGHT_STEPS = dict(install=install, ops=ops)

if __name__ == '__main__':
    main()

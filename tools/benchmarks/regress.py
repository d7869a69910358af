#!/usr/bin/env python
"""Compare the speed and memory of two checkouts: ``python tools/benchmarks/regress.py OLD NEW``.

The two alternate (old, new, new, old, ...), so that whatever else the machine does disturbs both alike: the processes
of a start-up, and of a model the calls of two processes that exist at the same time. The workloads are start-up, the
data pipeline, and prediction and training step (loss and backward) of the small model of each method. Time is CPU time
with one thread. The table shows medians, and the ratio new / old.
"""
import argparse
import datetime
import json
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from mmavs.cli.arguments import positive_int
from mmavs.utils.errors import cli_errors
from mmavs.utils.files import check_writable
from mmavs.utils.json_files import write_json

# One small config of each method, on the same clips.
CONFIGS = tuple(f'configs/{name}_tiny_synthetic-ms3.py' for name in (
    'tpavi/tpavi', 'avsegformer/avsegformer', 'vct/act', 'vct/vct', 'combo/combo', 'ravs/ravs', 'ease/ease'))
STARTUP = {
    'import mmavs.apis': 'import mmavs.apis',
    'import its names': 'from mmavs.apis import *',
    'mmavs infer --help': "from mmavs.cli import main; main(['infer', '--help'])",
}
# Prints the peak memory at the end. That of resource.getrusage would begin with the memory of the process that starts.
PRINT_STATUS = "import atexit; atexit.register(lambda: print('\\n' + open('/proc/self/status').read()))\n"
WORKLOADS = ('start-up', 'data', 'models')
MODES = ('predict', 'train')
WORKER = str(Path(__file__).with_name('regress_workloads.py'))
# Line by which a worker says that it waits for its turn.
TURN = 'ready for the next timed call'
# Less memory counts as this much: it differs from run to run by what the allocator keeps.
SMALLEST_MIB = 10
#: Name of a measurement -> CPU seconds and peak memory in MiB.
Measured = dict[str, tuple[float, float]]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare the speed and memory of two checkouts')
    parser.add_argument('old', type=checkout, metavar='OLD', help='checkout before the change')
    parser.add_argument('new', type=checkout, metavar='NEW', help='checkout with the change')
    parser.add_argument('--workloads', nargs='+', choices=WORKLOADS, default=WORKLOADS, help='(default: all)')
    parser.add_argument('--configs', nargs='+', default=CONFIGS, metavar='CONFIG',
                        help='models, relative to the checkouts (default: the small model of each method)')
    parser.add_argument('--rounds', type=positive_int, default=5, help='processes of each checkout (default: 5)')
    parser.add_argument('--repeats', type=positive_int, default=3,
                        help='timed calls in a process, of which the median counts (default: 3)')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=MODES, help='what models do (default: both)')
    parser.add_argument('--frames', type=positive_int, default=5, help='frames of the clip of the models (default: 5)')
    parser.add_argument('--parts', action='store_true', help='also time the branches of models and the parts of heads')
    parser.add_argument('--limit', type=float, metavar='RATIO',
                        help='exit with status 1 if NEW takes more than RATIO times the time or memory of OLD')
    parser.add_argument('--out', metavar='FILE', help='JSON file for the numbers of all rounds')
    return parser.parse_args()


def checkout(text: str) -> Path:
    """Return the path of a checkout of mmavs; use it as ``type`` of ``add_argument``."""
    path = Path(text).resolve()
    if not (path / 'mmavs/version.py').is_file():
        raise argparse.ArgumentTypeError(f'{text}: expected a checkout of mmavs, with mmavs/version.py')
    return path


@cli_errors()
def main() -> None:
    args = parse_args()
    if args.out:
        check_writable(args.out)
    with tempfile.TemporaryDirectory() as data:
        rounds = compare(args.old, args.new, workloads(args, data), args.rounds)
    rows = [summarize(name, *numbers) for name, numbers in rounds.items()]
    print_table(rows)
    print(f'CPU time, 1 thread, medians of {args.rounds} processes, {datetime.date.today()}; '
          f'old: {describe(args.old)}, new: {describe(args.new)}\n{shlex.join(["python", *sys.argv])}')
    if args.out:
        write_json(args.out, {name: dict(old=old, new=new) for name, (old, new) in rounds.items()})
    slower = [row for row in rows if args.limit and max(row['time'], row['memory']) > args.limit]
    if slower:
        sys.exit('\n'.join(f"error: {row['name']}: {row['time']:.2f} of the time, {row['memory']:.2f} of the memory, "
                           f'more than {args.limit}' for row in slower))


def workloads(args: argparse.Namespace, data: str) -> list[Callable[[Sequence[Path]], list[Measured]]]:
    """List the functions that measure checkouts, one workload each; they return what each checkout measured."""
    chosen = []
    if 'start-up' in args.workloads:
        chosen += [lambda roots, name=name: [{name: start_up(root, STARTUP[name])} for root in roots]
                   for name in STARTUP]
    workers = []
    if 'data' in args.workloads:
        run(args.new, WORKER, 'make', data)
        workers.append(('data', args.configs[0], data))
    if 'models' in args.workloads:
        options = json.dumps(dict(repeats=args.repeats, modes=args.modes, frames=args.frames, parts=args.parts))
        workers += [('model', config, options) for config in args.configs]
    return chosen + [lambda roots, worker=worker: run_in_turns(roots, WORKER, *worker) for worker in workers]


def compare(old: Path, new: Path, workloads: list[Callable[[Sequence[Path]], list[Measured]]],
            num_rounds: int) -> dict[str, tuple[list, list]]:
    """Measure two checkouts in turn; return the measurements of all rounds by name, those of old and those of new."""
    found = defaultdict(lambda: ([], []))
    for number in range(num_rounds):
        order = ((0, 1), (1, 0))[number % 2]
        for workload in workloads:
            for which, measured in zip(order, workload([(old, new)[which] for which in order])):
                for name, numbers in measured.items():
                    found[name][which].append(numbers)
        print(f'round {number + 1} of {num_rounds}', file=sys.stderr, flush=True)
    return dict(found)


def start_up(root: Path, code: str) -> tuple[float, float]:
    """CPU seconds and peak resident memory in MiB (Linux only, else NaN) of a process that runs code and ends."""
    output, seconds = run(root, '-c', PRINT_STATUS + code)
    peak = re.search(r'^VmHWM:\s*(\d+) kB$', output, re.MULTILINE)
    return seconds, int(peak[1]) / 1024 if peak else float('nan')


def run(root: Path, *arguments: str) -> tuple[str, float]:
    """Run Python on a checkout; return its output and its CPU seconds."""
    return Process(root, *arguments).end()


def run_in_turns(roots: Sequence[Path], *arguments: str) -> list[Measured]:
    """Run a worker on each checkout; return what they measured. One works at a time, each until its next timed call."""
    processes = []
    for root in roots:
        processes.append(Process(root, *arguments))
        processes[-1].work()
    order = list(processes)
    while any(process.waits for process in processes):
        for process in order:
            if process.waits:
                process.work()
        order.reverse()
    return [json.loads(process.end()[0].splitlines()[-1]) for process in processes]


class Process:
    """A Python process on a checkout.

    Attributes:
        waits: It waits for its turn, see :meth:`work`.
    """

    def __init__(self, root: Path, *arguments: str) -> None:
        self.name = f'{root}: {shlex.join(arguments)}'
        self.output, self.waits = '', False
        environment = dict(os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS='1', PYTHONDONTWRITEBYTECODE='',
                           PYTHONWARNINGS='ignore', REGRESS_TURN=TURN)
        self.errors = tempfile.TemporaryFile('w+')
        self.process = subprocess.Popen([sys.executable, *arguments], cwd=root, env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)

    def work(self) -> None:
        """Let the process work until it waits for its next turn, or ends."""
        if self.waits:
            self.process.stdin.write('\n')
            self.process.stdin.flush()
        self.waits = False
        for line in self.process.stdout:
            if line.strip() == TURN:
                self.waits = True
                break
            self.output += line

    def end(self) -> tuple[str, float]:
        """Wait for the end; return the output and the CPU seconds. A process that fails ends the program."""
        self.output += self.process.stdout.read()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.process.stdin.close()
        self.process.stdout.close()
        with self.errors:
            if self.process.returncode:
                self.errors.seek(0)
                sys.exit(f'error: {self.name} ended with {self.process.returncode}: '
                         f'{self.errors.read().strip()[-2000:]}')
        return self.output, usage.ru_utime + usage.ru_stime


def summarize(name: str, old: list[tuple[float, float]], new: list[tuple[float, float]]) -> dict:
    """Medians of a measurement, the ratios of these, and the range of the ratio of times over the rounds."""
    (old_seconds, old_mib), (new_seconds, new_mib) = ([median(values) for values in zip(*runs)] for runs in (old, new))
    ratios = [after[0] / before[0] for before, after in zip(old, new)]
    return dict(
        name=name, old_seconds=old_seconds, new_seconds=new_seconds, time=new_seconds / old_seconds,
        lowest=min(ratios), highest=max(ratios), old_mib=old_mib, new_mib=new_mib,
        memory=max(new_mib, SMALLEST_MIB) / max(old_mib, SMALLEST_MIB))


def print_table(rows: list[dict]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table('workload')
    for header in ('old (s)', 'new (s)', 'ratio', 'lowest - highest', 'old (MiB)', 'new (MiB)', 'ratio'):
        table.add_column(header, justify='right')
    for row in rows:
        # Parts have no memory of their own.
        memory = (f"{row['old_mib']:.0f}", f"{row['new_mib']:.0f}", f"{row['memory']:.2f}")
        table.add_row(row['name'], f"{row['old_seconds']:.3f}", f"{row['new_seconds']:.3f}", f"{row['time']:.2f}",
                      f"{row['lowest']:.2f} - {row['highest']:.2f}", *(() if math.isnan(row['memory']) else memory))
    Console(width=120).print(table)


def describe(root: Path) -> str:
    """Commit of a checkout, or its path if git does not know it."""
    command = ['git', '-C', str(root), 'describe', '--always', '--dirty']
    return subprocess.run(command, capture_output=True, text=True).stdout.strip() or str(root)


if __name__ == '__main__':
    main()

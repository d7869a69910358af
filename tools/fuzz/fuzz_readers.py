#!/usr/bin/env python
"""Read hostile files in child processes with limits, and count the outcomes: ``python tools/fuzz/fuzz_readers.py``.

An input must be read, or refused by one error that names the file and that a ``raise`` statement of mmavs raised. What
counts as a fault: any other exception, more memory than ``--memory`` or more seconds than ``--seconds``, and the end of
the process. Inputs with faults are kept in ``--keep``.
"""
import argparse
import multiprocessing
import os
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

from readers import KINDS

from mmavs.cli.arguments import positive_int
from mmavs.utils.errors import user_message

# Seconds of waiting for each second of computing that an input may take: a busy machine is no fault.
WAITING = 20


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Read hostile files in child processes with limits')
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=list(KINDS), help='kinds of files')
    parser.add_argument('--inputs', type=positive_int, default=10000, help='inputs of each kind (default: 10000)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the inputs (default: 0)')
    parser.add_argument('--memory', type=positive_int, default=1024, help='MiB beyond the start (default: 1024)')
    parser.add_argument('--seconds', type=positive_int, default=5, help='seconds of the CPU for an input (default: 5)')
    parser.add_argument('--keep', type=Path, default=Path('work_dirs/fuzz'), help='directory of inputs with faults')
    return parser.parse_args()


def outcome_of(read, path: Path) -> str:
    """'read', 'refused', or the description of a fault."""
    try:
        read(path)
        return 'read'
    except SystemExit as error:  # of a tool
        message = str(error.code).removeprefix('error: ') if str(error.code).startswith('error: ') else None
        kind = f'SystemExit: {error.code}'
    except Exception as error:
        message, kind = user_message(error), f'{type(error).__name__}: {error}'
    except BaseException as error:  # counted as a fault
        message, kind = None, f'{type(error).__name__}: {error}'
    if message is None:
        return f'fault: {kind}'
    return 'refused' if path.name in message else f'fault: no name in {kind}'


def read_inputs(kind: str, args: argparse.Namespace, first: int, pipe) -> None:
    """Child process: read inputs from ``first`` on, and send what becomes of each."""
    for stream in (1, 2):  # Decoders write notes to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    warnings.simplefilter('ignore')
    make = KINDS[kind].inputs(args.seed)
    start = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (start + args.memory * 2**20, resource.RLIM_INFINITY))
    for index in range(args.inputs):
        data = make()
        if index < first:
            continue
        pipe.send((index, data, None))
        for name, readers in KINDS[kind].readers.items():
            path = args.keep / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            for read in readers:
                # Of the CPU, and, for what waits forever, of the clock.
                signal.setitimer(signal.ITIMER_PROF, args.seconds)
                signal.alarm(WAITING * args.seconds)
                outcome = outcome_of(read, path)
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.alarm(0)
                pipe.send((index, None, outcome.encode(errors='replace')[:300].decode(errors='replace')))
            path.unlink()
    pipe.send((args.inputs, None, None))


def fuzz(kind: str, args: argparse.Namespace) -> Counter:
    """Read all inputs of a kind; a process that ends is replaced from the next input on."""
    outcomes, index, context = Counter(), 0, multiprocessing.get_context('fork')
    while index < args.inputs:
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=read_inputs, args=(kind, args, index, sender))
        child.start()
        sender.close()
        data = b''
        try:
            while index < args.inputs:
                index, content, outcome = receiver.recv()
                data = data if content is None else content
                if outcome is not None:
                    outcomes[outcome.partition(':')[0]] += 1
                    if outcome.startswith('fault'):
                        report(kind, index, data, outcome, args.keep)
        except EOFError:
            child.join()
            outcomes['fault'] += 1
            report(kind, index, data, f'fault: the process ended with {child.exitcode}', args.keep)
            index += 1
        child.join()
    return outcomes


def report(kind: str, index: int, data: bytes, outcome: str, directory: Path) -> None:
    path = directory / f'{kind}_{index}'.replace(' ', '_')
    path.write_bytes(data)
    print(f'{path}: {outcome}', file=sys.stderr)


def main() -> None:
    args = parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    faults = 0
    print('| kind | inputs | readers | read | refused | fault | seconds |\n|---|---|---|---|---|---|---|')
    for kind in args.kinds:
        start = time.time()
        outcomes = fuzz(kind, args)
        faults += outcomes['fault']
        counts = ' | '.join(str(outcomes[outcome]) for outcome in ('read', 'refused', 'fault'))
        readers = sum(map(len, KINDS[kind].readers.values()))
        print(f'| {kind} | {args.inputs} | {readers} | {counts} | {time.time() - start:.0f} |', flush=True)
    sys.exit(1 if faults else 0)


if __name__ == '__main__':
    main()

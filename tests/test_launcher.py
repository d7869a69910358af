"""Processes of a launcher that is killed."""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmavs.engine import launch

pytestmark = pytest.mark.skipif(not hasattr(os, 'register_at_fork'), reason='processes of POSIX')

# A rank that would live for a minute. It notices within a few hundredths of a second that its launcher has ended.
RANK = """
import os, signal, time
from mmavs.utils import parent_process
parent_process.INTERVAL, parent_process.GRACE = 0.02, 0.2
parent = os.getppid()
{before}
parent_process.end_with_parent()
print('rank', os.getpid(), flush=True)
time.sleep(60)
time.sleep(60)
"""
# A launcher that waits for its rank.
LAUNCHER = 'import subprocess, sys; subprocess.run([sys.executable, sys.argv[1]])'


def start(script, source, *launcher):
    script.write_text(source)
    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parents[1]))
    return subprocess.Popen([sys.executable, *launcher, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=environment)


def kill_and_wait(launcher, ranks):
    """Kill the launcher, and wait until its ranks have closed the output that they share with it; their messages."""
    launcher.kill()
    try:
        return launcher.communicate(timeout=30)[1]
    finally:
        for rank in ranks:
            try:
                os.kill(rank, 9)
            except ProcessLookupError:
                pass


def test_ranks_end_if_the_agent_of_torchrun_is_killed(tmp_path):
    agent = start(tmp_path / 'rank.py', RANK.format(before=''), '-m', 'torch.distributed.run', '--standalone',
                  '--nproc_per_node=2')
    ranks = [int(re.fullmatch(r'rank (\d+)\n', agent.stdout.readline())[1]) for _ in range(2)]
    messages = kill_and_wait(agent, ranks)
    for rank in ranks:
        assert f'launcher (process {agent.pid}) has ended, and process {rank} that it has started ends too' in messages


@pytest.mark.parametrize('before', [
    # The launcher ends while the rank imports PyTorch.
    "print('rank', os.getpid(), flush=True)\nwhile os.getppid() == parent: time.sleep(0.02)",
    # A rank that cannot end by itself: it takes the signal and goes on.
    'signal.signal(signal.SIGTERM, lambda *args: None)',
], ids=['early', 'stuck'])
def test_a_rank_ends_whenever_its_launcher_ends_and_whatever_it_does(tmp_path, before):
    launcher = start(tmp_path / 'rank.py', RANK.format(before=before), '-c', LAUNCHER)
    rank = int(launcher.stdout.readline().split()[1])
    assert f'process {rank} that it has started ends too' in kill_and_wait(launcher, [rank])


@pytest.mark.parametrize(('launcher', 'by_torchrun', 'ends'), [
    ('pytorch', True, True), ('slurm', False, True), ('mpi', False, True), ('pytorch', False, False),
    ('none', True, False)])
def test_every_rank_of_a_launcher_ends_with_it(monkeypatch, launcher, by_torchrun, ends):
    class BuiltError(Exception):
        pass

    def build(config):
        raise BuiltError

    watched = []
    monkeypatch.setattr(launch, 'end_with_parent', lambda: watched.append(True))
    monkeypatch.setattr(launch, '_prepare_for_cpu', lambda config: None)
    monkeypatch.setattr(launch.Runner, 'from_cfg', build)
    monkeypatch.delenv('TORCHELASTIC_RUN_ID', raising=False)
    if by_torchrun:
        monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'none')
    with pytest.raises(BuiltError):
        launch.build_runner(Config(), launcher)
    assert bool(watched) == ends

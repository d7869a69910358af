"""Workers of a data loader that deliver nothing."""
import multiprocessing
import os
import signal
from types import SimpleNamespace

import pytest
from test_resume import build
from torch.utils.data import DataLoader, Dataset

from mmavs.cli import test as test_command
from mmavs.engine import testing
from mmavs.engine.loader_timeout import naming_late_worker
from mmavs.engine.training import _run
from mmavs.utils.errors import DataError

STOPPED = (r'worker 0 of a data loader \(process \d+\) has delivered no batch for 1 s and is stopped \(SIGSTOP\): .*'
           r'train_dataloader\.timeout=3600')

pytestmark = pytest.mark.skipif(not os.path.exists('/proc/self/stat'), reason='states of processes of Linux')


@pytest.fixture(autouse=True)
def short_goodbye(monkeypatch):
    """PyTorch waits for this many seconds for a worker to end, here one that is stopped."""
    monkeypatch.setattr('torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL', 0.1)


class StopsItsWorker(Dataset):

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
        return index


def stopped_loader():
    return DataLoader(StopsItsWorker(), batch_size=2, num_workers=1, timeout=1)


def test_a_stopped_worker_is_named_and_ended():
    with pytest.raises(DataError, match=STOPPED), naming_late_worker():
        list(stopped_loader())
    assert not multiprocessing.active_children()


def test_other_errors_are_passed_on():
    with pytest.raises(RuntimeError, match='^DataLoader timed out$'), naming_late_worker():
        raise RuntimeError('DataLoader timed out')


def test_a_training_names_a_stopped_worker(tmp_path):
    with pytest.raises(DataError, match=STOPPED):
        _run(build(tmp_path, train_dataloader=stopped_loader()))


def test_tests_name_a_stopped_worker(monkeypatch):

    def loop(*args):
        loader = stopped_loader()
        return SimpleNamespace(run=lambda: list(loader), dataloader=loader)

    runner = SimpleNamespace(model=None, call_hook=lambda name: None, test=lambda: list(stopped_loader()))
    monkeypatch.setattr(testing, 'build_runner', lambda *args: runner)
    monkeypatch.setattr(testing, 'load_weights', lambda *args: {})
    monkeypatch.setattr(testing, 'TestLoop', loop)
    with pytest.raises(DataError, match=STOPPED):
        testing.run_tests({}, 'x.pth', dict(original={}), {})
    with pytest.raises(DataError, match=STOPPED):
        test_command.run_test(runner)

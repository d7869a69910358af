"""Trainings that SIGTERM or SIGINT end."""
import os
import signal

import pytest
from mmengine.hooks import Hook
from test_resume import build

from mmavs.checkpoint.reading import read_checkpoint
from mmavs.engine import stop_signals
from mmavs.engine.stop_signals import SIGNALS, StopSignalHook, TrainingStopped


class Sender(Hook):
    """Sends a signal to this process in an iteration, or in the validation after some iterations."""

    def __init__(self, number, iteration=None, validation=None):
        self.number, self.iteration, self.validation = number, iteration, validation

    def before_train_iter(self, runner, **kwargs):
        if runner.iter == self.iteration:
            os.kill(os.getpid(), self.number)

    def before_val_epoch(self, runner):
        if runner.iter == self.validation:
            os.kill(os.getpid(), self.number)


def stop(work_dir, sender, **options):
    """Train until the signal; return exit status and message."""
    hook, messages = StopSignalHook(), []
    runner = build(work_dir, hooks=[sender, hook], **options)
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(TrainingStopped) as stopped, hook.taking_signals():
        patch.setattr(runner.logger, 'warning', messages.append)
        runner.train()
    assert [signal.getsignal(number) for number in SIGNALS] == before
    return stopped.value.code, messages[-1]



# Iteration 4 has no checkpoint of its own, iteration 5 has one.
@pytest.mark.parametrize('number,iteration', [(signal.SIGTERM, 4), (signal.SIGINT, 4), (signal.SIGTERM, 5)])
def test_a_signal_ends_the_training_with_a_checkpoint_of_its_iteration(tmp_path, number, iteration):
    status, message = stop(tmp_path, Sender(number, iteration))
    path = tmp_path / f'iter_{iteration + 1}.pth'
    assert status == 128 + number
    assert message == (f'{number.name}: the training ends after iteration {iteration + 1}; resume it with the same '
                       f'command and --resume: it continues from {path}')
    assert (tmp_path / 'last_checkpoint').read_text() == str(path)
    checkpoint = read_checkpoint(path)
    assert checkpoint['meta']['iter'] == checkpoint['state_dict']['steps'] == iteration + 1


def test_a_training_by_epochs_keeps_the_checkpoint_of_the_last_epoch(tmp_path):
    _, message = stop(tmp_path, Sender(signal.SIGTERM, 0), by_epoch=True)
    assert message.endswith('after iteration 1; no checkpoint has been written, so it can only be started anew')
    _, message = stop(tmp_path, Sender(signal.SIGTERM, 4), by_epoch=True)
    assert message.endswith(f"it continues from {tmp_path / 'epoch_2.pth'}")
    assert {path.name for path in tmp_path.glob('epoch_*.pth')} == {'epoch_2.pth'}


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_signal_ends_a_validation_which_a_resumed_training_repeats(tmp_path, by_epoch):
    _, message = stop(tmp_path, Sender(signal.SIGTERM, validation=4), by_epoch=by_epoch)
    last = (tmp_path / 'last_checkpoint').read_text()
    assert 'after iteration 4' in message and last.endswith('epoch_2.pth' if by_epoch else 'iter_4.pth')
    assert 'validated_iter' not in read_checkpoint(last)['message_hub']['runtime_info'] or (
        read_checkpoint(last)['message_hub']['runtime_info']['validated_iter'] == 2)


def test_processes_end_together_if_one_gets_the_signal(monkeypatch, tmp_path):
    monkeypatch.setattr(stop_signals, 'get_world_size', lambda: 2)
    monkeypatch.setattr(stop_signals, 'all_reduce', lambda x, op: x.fill_(signal.SIGTERM))
    assert StopSignalHook()._agreed() == signal.SIGTERM


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='signals of POSIX')
@pytest.mark.parametrize('number', SIGNALS)
def test_a_second_signal_ends_the_process_at_once(number):
    child = os.fork()
    if not child:
        with StopSignalHook().taking_signals():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == number

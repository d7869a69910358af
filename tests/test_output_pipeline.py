"""Threads that read ahead of the model and that write behind it."""
import os
import signal
import threading
import time

import numpy as np
import pytest

from mmavs.apis.output_pipeline import run_pipeline
from mmavs.apis.read_ahead import read_ahead
from mmavs.apis.video_chunk import VideoChunk


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def chunks(count, made=None, error=None):
    for k in range(count):
        if made is not None:
            made.append(k)
        yield VideoChunk(k, np.array([k]), [], np.zeros((1, 2, 2), np.uint8))
    if error:
        raise error


class Writer:
    """A consumer that notes what it got and how it ended."""

    def __init__(self, error=None, fails_at=None):
        self.starts, self.end, self.error, self.fails_at = [], 'running', error, fails_at

    def __call__(self, items):
        try:
            if self.fails_at == 0:
                raise self.error
            for chunk in items:
                self.starts.append(chunk.start)
                if len(self.starts) == self.fails_at:
                    raise self.error
            self.end = 'complete'
        finally:
            if self.end != 'complete':
                self.end = 'removed'


def test_each_consumer_gets_all_chunks_in_order_in_a_thread_of_its_own():
    names = []
    writers = [Writer(), Writer()]
    run_pipeline(chunks(20), [*writers, lambda items: names.extend({threading.current_thread().name for _ in items})])
    assert [writer.starts for writer in writers] == [list(range(20))] * 2
    assert {writer.end for writer in writers} == {'complete'} and names != [threading.main_thread().name]


def test_chunks_wait_for_the_slowest_consumer():
    made, most, released = [], [], threading.Event()

    def slow(items):
        next(iter(items))
        released.wait(10)
        for _ in items:
            pass

    def fast(items):
        for chunk in items:
            if chunk.start == 1:
                time.sleep(0.3)  # long enough for more chunks to be made, if they were
                most.append(len(made))
                released.set()

    run_pipeline(chunks(20, made), [slow, fast])
    # One in use, one that waits, one that is being handed over, and the next one.
    assert most[0] <= 4 and len(made) == 20


@pytest.mark.parametrize('fails_at', [0, 1, 5, 20])
def test_an_output_that_fails_ends_the_others(fails_at):
    made, broken, other = [], Writer(OSError('disk full'), fails_at), Writer()
    with pytest.raises(OSError, match='disk full'):
        run_pipeline(chunks(20, made), [other, broken])
    assert broken.end == 'removed' and (other.end == 'removed' or fails_at == 20)
    assert len(made) <= fails_at + 4


def test_an_output_that_needs_only_the_beginning_does_not_stop_the_others():
    other = Writer()
    run_pipeline(chunks(20), [lambda items: next(iter(items)), other])
    assert other.end == 'complete' and len(other.starts) == 20


@pytest.mark.parametrize('error', [ValueError('damaged'), KeyboardInterrupt()])
@pytest.mark.parametrize('count', [0, 1, 7])
def test_chunks_that_break_off_leave_nothing(error, count):
    writers = [Writer(), Writer()]
    with pytest.raises(type(error)):
        run_pipeline(chunks(count, error=error), writers)
    assert {writer.end for writer in writers} == {'removed'}


def test_ctrl_c_while_the_last_file_is_closed_leaves_it_whole():
    ends = []

    def interrupted(items):
        for _ in items:
            pass
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)  # the main thread has the interrupt meanwhile
        ends.append('complete')

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(chunks(3), [interrupted])
    assert ends == ['complete']


def test_ctrl_c_while_a_slow_output_is_waited_for_removes_it():
    slow, interrupted = Writer(), threading.Event()

    def first(items):
        next(iter(items))
        os.kill(os.getpid(), signal.SIGINT)
        interrupted.wait(0.3)
        slow(items)

    with pytest.raises(KeyboardInterrupt):
        run_pipeline(chunks(1000), [first])
    assert slow.end == 'removed'


# ---- Reading ahead ----


def test_items_are_made_in_a_thread_before_they_are_asked_for():
    made, threads = [], set()

    def items():
        for k in range(20):
            made.append(k)
            threads.add(threading.current_thread())
            yield k

    ahead = read_ahead(items(), 4)
    assert made == []
    assert next(ahead) == 0
    for _ in range(1000):
        if len(made) == 6:
            break
        time.sleep(0.01)
    time.sleep(0.1)  # no more follow: one was taken, four wait, one waits for room
    assert made == [0, 1, 2, 3, 4, 5]
    assert list(ahead) == list(range(1, 20))
    assert threading.main_thread() not in threads and len(threads) == 1


def test_an_error_comes_after_the_items_before_it():
    ahead = read_ahead((1 // (2 - k) for k in range(5)), 8)
    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(ahead)


def test_closing_early_closes_the_items_in_their_thread():
    closed = []

    def endless():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread())

    ahead = read_ahead(endless(), 2)
    next(ahead)
    ahead.close()
    assert len(closed) == 1 and closed[0] is not threading.main_thread()

"""Worker processes of ``mmavs serve``: a job that takes too long, too much memory or crashes ends alone."""
import os
import signal
import time
from pathlib import Path

import pytest

from mmavs.serving import worker_pool
from mmavs.serving.limits import MEGABYTE, Limits
from mmavs.serving.messages import Failure, Job, Progress, Ready, ServedModel, VideoResult
from mmavs.serving.worker_pool import JobError, WorkerPool

LIMITS = Limits(job_seconds=30, job_bytes=100 * MEGABYTE)


def stub_worker(connection, models, device, num_threads, limits):
    """Worker that does what the name of the model says, without PyTorch."""
    if models[0].name == 'unusable':
        connection.send(Failure('input', 'weights.pth: no such checkpoint'))
        return
    connection.send(Ready())
    while True:
        job = connection.recv()
        if job is None:
            continue
        connection.send(Progress(0.1, str(os.getpid())))
        message = VideoResult(1.0, complete=True)
        if job.model == 'crash':
            os.abort()
        elif job.model == 'memory':
            kept = []
            for _ in range(60):
                kept.append(bytearray(os.urandom(1)) * (10 * MEGABYTE))
                time.sleep(0.02)
            time.sleep(30)
        elif job.model == 'long':
            while not connection.poll(0.01):
                pass
            connection.recv()
            message = Failure('cancelled', 'cancelled')
        elif job.model == 'stuck':
            time.sleep(60)
        elif job.model == 'broken':
            message = Failure('input', 'video.mp4: FFmpeg cannot read this as a video')
        connection.send(message)
        connection.send(Ready())


@pytest.fixture
def make_pool(monkeypatch):
    pools = []

    def make(limits=LIMITS, model='any'):
        monkeypatch.setattr(worker_pool, '_run_worker', stub_worker)
        monkeypatch.setattr(worker_pool, 'PRELOADED', 'mmavs.serving.messages')
        monkeypatch.setattr(worker_pool, 'GRACE', 0.5)
        pools.append(WorkerPool([ServedModel(model, 'config', None)], limits))
        pools[-1].start()
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def run(pool, model):
    """Messages of a job, without the None of waiting."""
    job = Job(Path('video.mp4'), Path('out'), model, 1, False)
    return [message for message in pool.run(job) if message is not None]


def worker_id(messages):
    return int(messages[0].text)


def test_a_worker_serves_one_job_after_the_other(make_pool):
    pool = make_pool()
    first, second = run(pool, 'fine'), run(pool, 'fine')
    assert worker_id(first) == worker_id(second)
    assert first[-1] == VideoResult(1.0, complete=True)


def test_a_job_that_fails_keeps_its_worker(make_pool):
    pool = make_pool()
    before = worker_id(run(pool, 'fine'))
    with pytest.raises(JobError, match='FFmpeg cannot read') as error:
        run(pool, 'broken')
    assert error.value.kind == 'input'
    assert worker_id(run(pool, 'fine')) == before


@pytest.mark.parametrize('model, kind, limits', [
    ('crash', 'crash', LIMITS),
    ('memory', 'memory', LIMITS),
    ('stuck', 'time', Limits(job_seconds=0.5, job_bytes=100 * MEGABYTE))])
def test_a_job_beyond_its_limits_ends_with_its_worker_and_the_next_job_gets_another(make_pool, model, kind, limits):
    pool = make_pool(limits)
    before = worker_id(run(pool, 'fine'))
    with pytest.raises(JobError) as error:
        run(pool, model)
    assert error.value.kind == kind
    assert worker_id(run(pool, 'fine')) != before


def test_a_cancelled_job_ends_and_keeps_its_worker(make_pool):
    pool = make_pool()
    before = worker_id(run(pool, 'fine'))
    messages = pool.run(Job(Path('video.mp4'), Path('out'), 'long', 1, False))
    assert next(x for x in messages if x is not None).fraction == 0.1
    messages.close()
    assert worker_id(run(pool, 'fine')) == before


def test_a_worker_that_does_not_end_its_cancelled_job_is_replaced(make_pool):
    pool = make_pool()
    before = worker_id(run(pool, 'fine'))
    messages = pool.run(Job(Path('video.mp4'), Path('out'), 'stuck', 1, False))
    next(messages)
    messages.close()
    assert worker_id(run(pool, 'fine')) != before


def test_a_worker_that_ended_while_it_was_idle_is_replaced(make_pool):
    pool = make_pool()
    before = worker_id(run(pool, 'fine'))
    while not pool.num_ready:
        time.sleep(0.01)
    os.kill(before, signal.SIGKILL)
    while pool.num_alive:
        time.sleep(0.01)
    assert worker_id(run(pool, 'fine')) != before


def test_a_model_that_cannot_be_loaded_is_an_error_of_the_start(make_pool):
    with pytest.raises(ValueError, match='weights.pth: no such checkpoint'):
        make_pool(model='unusable')

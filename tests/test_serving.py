"""Limits, refusals, hidden paths, jobs and metrics of ``mmavs serve``, without a browser and without a model."""
import json
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('prometheus_client', reason='prometheus-client is not installed: pip install mmavs[web]')
pytest.importorskip('starlette', reason='gradio is not installed: pip install mmavs[web]')

from starlette.applications import Starlette  # noqa: E402
from starlette.responses import JSONResponse, StreamingResponse  # noqa: E402
from starlette.routing import Route  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from mmavs.cli.serve import served_models  # noqa: E402
from mmavs.serving.hidden_paths import PUBLIC_NAME, HiddenPaths, StreamReplacement  # noqa: E402
from mmavs.serving.jobs import JobRunner, delete_old_files  # noqa: E402
from mmavs.serving.limits import Limits  # noqa: E402
from mmavs.serving.messages import ConditionResult, Progress, ServedModel, StageTime, VideoResult  # noqa: E402
from mmavs.serving.metrics import Metrics  # noqa: E402
from mmavs.serving.request_guard import ARRIVAL, MAX_BODY, RequestGuard  # noqa: E402
from mmavs.serving.server import _listen  # noqa: E402
from mmavs.serving.worker_pool import JobError  # noqa: E402


class StubPool:
    """Pool whose jobs write two files, or fail."""

    def __init__(self, error=None):
        self.models = [ServedModel('tiny', 'tiny', None)]
        self.error, self.jobs = error, []
        self.num_ready = self.num_alive = 1

    def run(self, job):
        self.jobs.append(job)
        overlay, spare = job.out_dir / 'original/overlay.mp4', job.out_dir / 'original/masks/0.png'
        spare.parent.mkdir(parents=True)
        overlay.write_text('video')
        spare.write_text('mask')
        yield Progress(0.5, 'half')
        yield StageTime('segment', 2.0)
        if self.error:
            raise self.error
        yield None
        shown = ConditionResult('original', overlay, [], 0.0)
        yield VideoResult(1.0, [shown], dict(overlay=overlay), complete=True)

    def memory(self):
        return 0

@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'upload/video.mp4'
    path.parent.mkdir()
    path.write_bytes(b'x' * 100)
    return path

def make_runner(tmp_path, error=None, **limits):
    return JobRunner(StubPool(error), tmp_path, [], replace(Limits(), **limits), Metrics())

def run(runner, video, model='tiny', fps=1):
    return list(runner.run(video, model, fps, False, waited=3.0))

def metric(runner, line):
    lines = dict(x.rsplit(' ', 1) for x in runner.metrics.text().decode().splitlines() if not x.startswith('#'))
    return float(lines[line])

@pytest.mark.parametrize('size', [1, 2, 3, 7, 100])
def test_words_are_replaced_wherever_a_stream_is_cut(size):
    text = b'a /srv/secret/x /srv/srv/secret /srv/secre'
    replacement = StreamReplacement([b'/srv/secret'], b'/public')
    parts = [text[k:k + size] for k in range(0, len(text), size)]
    result = b''.join(replacement.add(part, last=k == len(parts) - 1) for k, part in enumerate(parts))
    assert result == b'a /public/x /srv/public /srv/secre'

def test_a_stream_is_not_held_back_without_need():
    replacement = StreamReplacement([b'/srv/secret'], b'/public')
    assert replacement.add(b'data: 1\n\n', last=False) == b'data: 1\n\n'

def hidden_client(directory):
    async def echo(request):
        return JSONResponse(dict(body=(await request.body()).decode(), path=request.url.path))

    async def stream(request):
        return StreamingResponse(iter([str(directory)[:5], str(directory)[5:]]), media_type='text/event-stream')

    async def video(request):
        return StreamingResponse(iter([str(directory)]), media_type='video/mp4')

    routes = [Route('/echo', echo, methods=['POST']), Route('/stream', stream), Route('/video', video),
              Route('/file={path:path}', echo)]
    return TestClient(HiddenPaths(Starlette(routes=routes), directory))

def test_clients_see_a_public_name_instead_of_the_directory(tmp_path):
    client = hidden_client(tmp_path)
    answer = client.post('/echo', json=dict(path=f'{PUBLIC_NAME}/a.mp4'))
    # The application got the directory; the client sees the public name again.
    assert json.loads(answer.json()['body']) == dict(path=f'{PUBLIC_NAME}/a.mp4')
    assert str(tmp_path) not in answer.text
    assert client.get('/stream').text == PUBLIC_NAME
    assert client.get(f'/file={PUBLIC_NAME}/a.mp4').json()['path'] == f'/file={PUBLIC_NAME}/a.mp4'
    # Files of users are not searched.
    assert client.get('/video').text == str(tmp_path)

def guarded_client(stored=0, refusals=None):
    async def echo(request):
        return JSONResponse(dict(body=(await request.body()).decode(), arrival=request.headers[ARRIVAL]))

    app = Starlette(routes=[Route('/{path:path}', echo, methods=['GET', 'POST'])])
    return TestClient(RequestGuard(app, lambda: stored, 100, (refusals or (lambda: None))))

@pytest.mark.parametrize('path', [
    'gradio_api/proxy=http://10.0.0.1/', 'gradio_api/file=http://10.0.0.1/x', 'gradio_api/file=FTP:x',
    'gradio_api/process_recording', 'monitoring', 'gradio_api/vibe-edit/'])
def test_routes_for_other_purposes_are_refused(path):
    count = Counter()
    answer = guarded_client(refusals=lambda: count.update(['refused'])).get('/' + path)
    assert (answer.status_code, count['refused']) == (404, 1)

@pytest.mark.parametrize('url', ['http://169.254.169.254/latest', 'https://a.b/c', 'file:///etc/passwd', ' HTTP://x'])
def test_files_that_are_given_as_urls_are_refused(url):
    body = dict(data=[dict(video=dict(path=url, meta=dict(_type='gradio.FileData')))])
    answer = guarded_client().post('/gradio_api/queue/join', json=body)
    assert answer.status_code == 422 and 'upload the file itself' in answer.json()['detail']

def test_other_requests_pass_with_their_time_of_arrival():
    before = time.monotonic()
    answer = guarded_client().post('/gradio_api/queue/join', json=dict(data=[dict(path='/x/a.mp4')]),
                                   headers={ARRIVAL: '1'}).json()
    assert json.loads(answer['body']) == dict(data=[dict(path='/x/a.mp4')])
    assert before <= float(answer['arrival']) <= time.monotonic()

def test_long_bodies_are_refused_unless_they_are_uploads():
    client = guarded_client()
    assert client.post('/gradio_api/queue/join', content=b'[' * (MAX_BODY + 1)).status_code == 413
    assert client.post('/gradio_api/upload', content=b'[' * (MAX_BODY + 1)).status_code == 200

def test_uploads_are_refused_while_the_store_is_full():
    assert guarded_client(stored=100).post('/gradio_api/upload', content=b'x').status_code == 200
    answer = guarded_client(stored=101).post('/gradio_api/upload', content=b'x')
    assert answer.status_code == 507 and 'too many files' in answer.json()['detail']

def test_deeply_nested_json_is_not_an_error_of_the_server():
    assert guarded_client().post('/gradio_api/queue/join', content=b'[' * 100000).status_code == 200

def test_old_files_are_deleted_and_the_examples_are_kept(tmp_path):
    kept, old = tmp_path / 'examples/a.mp4', tmp_path / 'jobs/b/c.mp4'
    for path in (kept, old):
        path.parent.mkdir(parents=True)
        path.write_text('x')
    delete_old_files(tmp_path, 3600, kept.parent)
    assert old.exists()
    time.sleep(0.05)
    delete_old_files(tmp_path, 0.01, kept.parent)
    assert kept.exists() and not old.exists()
    delete_old_files(tmp_path, -1, kept.parent)  # their directories, which have just been changed
    assert [path.name for path in tmp_path.iterdir()] == ['examples']

def test_a_directory_that_a_job_removes_meanwhile_is_passed_over(tmp_path, monkeypatch):
    leaving, scandir = tmp_path / 'jobs/a/coco.partial', os.scandir
    (tmp_path / 'upload.mp4').write_bytes(bytes(105))

    def scan(path):
        if Path(path) == leaving:
            leaving.rmdir()
        return scandir(path)

    for measure, expected in ((make_runner(tmp_path).stored_bytes, 105),
                              (lambda: delete_old_files(tmp_path, 3600, tmp_path / 'examples'), None)):
        leaving.mkdir(parents=True)
        with monkeypatch.context() as patch:
            patch.setattr(os, 'scandir', scan)
            assert measure() == expected and not leaving.exists()

def test_a_finished_job_leaves_its_results_alone(tmp_path, video):
    runner = make_runner(tmp_path)
    *_, result = run(runner, video)
    files = [path for path in (tmp_path / 'jobs').rglob('*') if path.is_file()]
    assert files == [result.files['overlay']]
    assert metric(runner, 'mmavs_jobs_total{outcome="finished"}') == 1
    assert metric(runner, 'mmavs_stage_seconds_sum{stage="segment"}') == 2
    assert metric(runner, 'mmavs_stage_seconds_sum{stage="queue"}') == 3
    assert runner.num_running == 0 and runner.stored_bytes() == 105

def test_a_failed_job_leaves_nothing(tmp_path, video):
    runner = make_runner(tmp_path, JobError('crash', 'It crashed.'))
    with pytest.raises(JobError, match='It crashed'):
        run(runner, video)
    assert not list((tmp_path / 'jobs').iterdir()) and video.exists()
    assert metric(runner, 'mmavs_jobs_total{outcome="crash"}') == 1

def test_a_cancelled_job_leaves_nothing(tmp_path, video):
    runner = make_runner(tmp_path)
    messages = runner.run(video, 'tiny', 1, False)
    assert next(messages) == Progress(0.5, 'half') and runner.num_running == 1
    messages.close()
    assert not list((tmp_path / 'jobs').iterdir()) and runner.num_running == 0
    assert metric(runner, 'mmavs_jobs_total{outcome="cancelled"}') == 1

@pytest.mark.parametrize('arguments, message', [
    (dict(model='other'), "There is no model 'other': choose one of tiny."),
    (dict(fps=0), '0 frames per second are not possible: choose at most 10.'),
    (dict(fps=11), '11 frames per second are not possible'),
    (dict(fps=float('nan')), 'nan frames per second are not possible'),
    (dict(fps=None), 'None frames per second are not possible')])
def test_wrong_arguments_are_sentences(tmp_path, video, arguments, message):
    runner = make_runner(tmp_path)
    with pytest.raises(JobError, match=message):
        run(runner, video, **arguments)
    assert not runner.pool.jobs

def test_a_job_without_a_video_is_a_sentence(tmp_path):
    with pytest.raises(JobError, match='Choose a video first'):
        run(make_runner(tmp_path), None)

def test_the_size_of_a_file_is_limited(tmp_path, video):
    with pytest.raises(JobError, match='more than 99 bytes'):
        run(make_runner(tmp_path, upload_bytes=99), video)

def test_the_swapped_audio_is_that_of_another_example(tmp_path):
    runner = make_runner(tmp_path)
    runner.examples = [Path('/e/example-1.mp4'), Path('/e/example-2.mp4')]
    assert runner._swapped_audio(Path('/u/mine.mp4')) == runner.examples[0]
    assert runner._swapped_audio(Path('/u/example-1.mp4')) == runner.examples[1]

def test_metrics_name_all_outcomes_and_stages_from_the_start():
    text = Metrics().text().decode()
    for line in ('mmavs_jobs_total{outcome="time"} 0.0', 'mmavs_stage_seconds_count{stage="pack"} 0.0',
                 'mmavs_refused_requests_total 0.0', 'mmavs_memory_bytes{process="server"}'):
        assert line in text



def test_a_port_in_use_is_one_plain_line():
    with _listen('127.0.0.1', 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf'^127\.0\.0\.1, port {port}: cannot be used \(Address already in use\): '):
            _listen('127.0.0.1', port)


def test_server_without_arguments_takes_the_models_of_the_demos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [(model.name, model.checkpoint, model.random) for model in served_models([])] == [
        ('vct_tiny_synthetic', None, True)]
    for file in ('demo/iter_1100.pth', 'demo-photos/iter_750.pth', 'demo-photos/iter_2000.pth'):
        (tmp_path / 'work_dirs' / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'work_dirs' / file).touch()
    assert [(model.name, model.checkpoint, model.random) for model in served_models([])] == [
        ('vct_efficientnet-lite0-128_stamps-demo', 'work_dirs/demo-photos/iter_2000.pth', False),
        ('vct_tiny_synthetic', 'work_dirs/demo/iter_1100.pth', False)]
    # A demo with other photographs has other classes.
    (tmp_path / 'work_dirs/demo-photos/config.py').touch()
    photos, drawn = served_models([])
    assert (photos.name, photos.config) == ('vct_efficientnet-lite0-128_stamps-demo', 'work_dirs/demo-photos/config.py')
    assert Path(drawn.config).parts[-2:] == ('vct', 'vct_tiny_synthetic.py')

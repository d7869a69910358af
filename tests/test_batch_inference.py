"""``mmavs infer --list``: many videos, one after the other and by Ray, on local disks and on S3."""
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from infer_command import run
from small_models import TINY
from video_files import write_test_video

from mmavs import apis
from mmavs.batch_inference import SegmentOptions, list_stored_videos, segment_list
from mmavs.batch_inference.records import ResultDirectory, VideoRecord
from mmavs.batch_inference.video import MAX_ATTEMPTS, segment_listed
from mmavs.cli import main

pq = pytest.importorskip('pyarrow.parquet', reason='the packages of requirements/ray.txt are not installed')
pytest.importorskip('fsspec', reason='the packages of requirements/ray.txt are not installed')


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Three videos, one of them in a subdirectory, and a broken one."""
    directory = tmp_path_factory.mktemp('videos')
    (directory / 'more').mkdir()
    for name, seconds in (('a', 4), ('b', 1), ('more/c', 2)):
        write_test_video(directory / f'{name}.mp4', seconds)
    (directory / 'broken.mp4').write_text('not a video')
    (directory / 'notes.txt').write_text('not a video either')
    return directory


def manifest(source):
    """Rows of the manifest by name, without what differs from run to run."""
    rows = {row.pop('name'): row for row in pq.read_table(source).to_pylist()}
    for row in rows.values():
        assert row.pop('seconds') >= 0 and row.pop('worker')
    return rows


def results(directory):
    """Content of the files of a directory, without the state of the run and the manifest."""
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in Path(directory).rglob('*')
            if path.is_file() and path.relative_to(directory).parts[0] not in ('_run', 'manifest.parquet')}


# ---- Lists ----


def test_a_directory_is_searched_without_hidden_files_and_results(videos, here):
    (here / 'in/.trash').mkdir(parents=True)
    (here / 'in/out/a').mkdir(parents=True)
    (here / 'empty').mkdir()
    for name in ('x.mp4', '.trash/y.mp4', '.z.mp4', 'out/a/overlay.mp4'):
        (here / 'in' / name).touch()
    assert list_stored_videos('in', 'in/out') == [str(here / 'in/x.mp4')]
    assert list_stored_videos(str(videos)) == [str(videos / name) for name in (
        'a.mp4', 'b.mp4', 'broken.mp4', 'more/c.mp4')]
    with pytest.raises(ValueError, match='no video file .* in the directory or below'):
        list_stored_videos('empty')


def test_a_text_file_names_paths_and_urls_each_once(here):
    (here / 'videos.txt').write_text('x.mp4\n\n s3://bucket/y.mp4\nx.mp4\nhttps://host/z.mp4\n', encoding='utf-8-sig')
    assert list_stored_videos('videos.txt') == [str(here / 'x.mp4'), 's3://bucket/y.mp4', 'https://host/z.mp4']
    (here / 'empty.txt').write_text('\n')
    with pytest.raises(ValueError, match='empty.txt: the list is empty'):
        list_stored_videos('empty.txt')
    with pytest.raises(FileNotFoundError, match='absent.txt: no such file'):
        list_stored_videos('absent.txt')


# ---- One after the other ----


def test_a_list_is_segmented_and_the_manifest_has_a_row_for_each_video(probe, videos, here, capsys):
    run('--list', videos, '--outputs', 'npz', status=1)
    rows = manifest('mmavs_results/manifest.parquet')
    assert rows['a'] == dict(video=str(videos / 'a.mp4'), status='segmented', files=['a/masks.npz'], error=None,
                             attempts=1)
    assert rows['broken']['status'] == 'failed' and rows['broken']['files'] == []
    assert rows['broken']['error'].startswith(f'{videos}/broken.mp4: FFmpeg cannot read')
    assert list(results('mmavs_results')) == ['a/masks.npz', 'b/masks.npz', 'c/masks.npz'] or len(rows) == 4
    metadata = pq.read_schema('mmavs_results/manifest.parquet').metadata
    assert metadata[b'mmavs.model'] == b'm' and metadata[b'mmavs.fps'] == b'1'
    err = capsys.readouterr().err
    assert '3 of 4 video(s) segmented' in err and err.count('error: ') == 1


def test_a_run_that_is_interrupted_goes_on_where_it_stopped(probe, videos, here, capsys):
    def interrupt(*call):
        if len(probe.lengths) == 1:
            signal.raise_signal(signal.SIGINT)

    hook = probe.register_forward_pre_hook(interrupt)
    run('--list', videos, '--outputs', 'npz', status=130)
    rows = manifest_statuses()
    assert rows == dict(a='segmented', b='interrupted', broken='pending', c='pending')
    before = Path('mmavs_results/a/masks.npz').stat().st_mtime_ns
    hook.remove()
    probe.lengths.clear()
    run('--list', videos, '--outputs', 'npz', status=1)
    assert manifest_statuses() == dict(a='segmented', b='segmented', broken='failed', c='segmented')
    assert Path('mmavs_results/a/masks.npz').stat().st_mtime_ns == before and probe.lengths == [1, 2]
    # The broken one is tried again, and nothing else.
    probe.lengths.clear()
    run('--list', videos, '--outputs', 'npz', status=1)
    assert probe.lengths == [] and '3 of 4 video(s) are segmented already' in capsys.readouterr().err


def manifest_statuses():
    return {row['name']: row['status'] for row in pq.read_table('mmavs_results/manifest.parquet').to_pylist()}


def test_results_of_other_options_are_not_mixed(probe, videos, here):
    run('--list', videos, '--outputs', 'npz', status=1)
    run('--list', videos, '--outputs', 'npz', '--precision', 'bf16',
        status='error: mmavs_results: its results have precision fp32, not bf16: use the same options to go on with '
        'that run, or another directory with --out')
    run('--list', videos, '--outputs', 'npz', '--fps', '2',
        status='error: mmavs_results: its results have fps 1, not 2: use the same options to go on with that run, or '
        'another directory with --out')


def test_a_video_that_ends_its_process_again_and_again_is_a_failure(here):
    directory = ResultDirectory(str(here / 'out'))
    record = VideoRecord('x.mp4', 'x')
    for _ in range(MAX_ATTEMPTS):
        record.begin()
    directory.write_record(record)
    result = segment_listed(None, directory, 'x.mp4', 'x', SegmentOptions('m'))
    assert result.status == 'failed' and f'ended {MAX_ATTEMPTS} times' in result.error
    assert directory.read_records() == {'x': result}


def test_a_name_that_the_run_itself_uses_is_refused(here):
    with pytest.raises(ValueError, match='_run.mp4: its results would replace _run in out: rename the video'):
        segment_list(['/x/_run.mp4'], 'out', SegmentOptions('m'))


@pytest.mark.parametrize(('arguments', 'message'), [
    (['x.mp4', '--list', 'y'], 'name videos, or --list and no video'),
    ([], 'name videos, or --list and no video'),
    (['x.mp4', '--engine', 'ray'], '--engine ray needs --list'),
    (['--list', 'y', '--workers', '2'], '--workers needs --engine ray'),
    (['--list', 'y', '--skip-existing'], '--list goes on by its records'),
    (['--list', 'y', '--engine', 'ray', '--device', 'cuda:1'], 'expected cpu or cuda'),
    (['--list', 'y', '--engine', 'ray', '--cpus-per-worker', '1'], 'at least 2'),
])
def test_arguments_that_do_not_fit_together_are_explained(here, capsys, arguments, message):
    run(*arguments, status=2)
    assert message in capsys.readouterr().err


# ---- S3 ----


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of a server on this machine."""
    moto_server = pytest.importorskip('moto.server', reason='moto[server] is not installed')
    s3fs = pytest.importorskip('s3fs', reason='s3fs is not installed')
    server = moto_server.ThreadedMotoServer('127.0.0.1', 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for key, value in dict(AWS_ENDPOINT_URL=f'http://{host}:{port}', AWS_ACCESS_KEY_ID='a', AWS_SECRET_ACCESS_KEY='b',
                           AWS_DEFAULT_REGION='us-east-1', AWS_EC2_METADATA_DISABLED='true').items():
        monkeypatch.setenv(key, value)
    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem()
    fs.makedirs('bucket', exist_ok=True)  # the server forgets nothing when it is started again
    yield fs
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_videos_and_results_may_be_on_s3(probe, bucket, videos, here, capsys):
    bucket.put(f'{videos}/', 'bucket/videos/', recursive=True)
    outputs = ('--outputs', 'png', 'csv')
    run('--list', 's3://bucket/videos', '--out', 's3://bucket/out', *outputs, status=1)
    with bucket.open('bucket/out/manifest.parquet') as file:
        rows = manifest(file)
    assert {name: row['status'] for name, row in rows.items()} == dict(
        a='segmented', b='segmented', broken='failed', c='segmented')
    assert rows['a']['files'] == ['a/masks', 'a/classes.csv']
    assert rows['broken']['error'].startswith('s3://bucket/videos/broken.mp4: FFmpeg cannot read')
    # The results are those of local files, and no others.
    run('--list', videos, '--out', 'local', *outputs, status=1)
    found = bucket.find('bucket/out')
    stored = {path.removeprefix('bucket/out/'): bucket.cat_file(path) for path in found if '/_run/' not in path}
    stored.pop('manifest.parquet')
    assert stored == results('local')
    # Another run has nothing to do but the broken one.
    probe.lengths.clear()
    run('--list', 's3://bucket/videos', '--out', 's3://bucket/out', *outputs, status=1)
    assert probe.lengths == []


def test_an_absent_bucket_is_one_line(bucket, here):
    with pytest.raises(SystemExit, match='^error: s3://absent/videos.txt: '):
        main(['infer', '--list', 's3://absent/videos.txt', '--model', 'm', '--weights', 'w'])


# ---- Ray ----


def test_a_worker_gives_the_results_of_the_loop_and_the_reason_why_it_cannot_work(probe, videos, here, monkeypatch):
    ray = pytest.importorskip('ray', reason='the packages of requirements/ray.txt are not installed')
    from mmavs.batch_inference import ray_engine, remote_decoding

    names = {'a': videos / 'a.mp4', 'b': videos / 'b.mp4', 'broken': videos / 'broken.mp4'}
    batch = dict(video=list(names.values()), name=list(names))
    segment_list(list(map(str, names.values())), 'loop', SegmentOptions('m', outputs=('npz', )))
    # The decoder runs in this process.
    decoder = SimpleNamespace(remote=lambda open_frames: list(open_frames()))
    monkeypatch.setattr(remote_decoding, '_remote_decoder', lambda: decoder)
    monkeypatch.setattr(ray, 'get', lambda item: item)
    records = ray_engine.VideoWorker('ray', SegmentOptions(probe, outputs=('npz', )))(batch)['record']
    assert [json.loads(record)['status'] for record in records] == ['segmented', 'segmented', 'failed']
    assert results('ray') == results('loop') and len(results('ray')) == 2
    # What the decoder says of a damaged video is the error of the video.
    decoder.remote = lambda open_frames: [f'{videos}/a.mp4: damaged after 2 s']
    monkeypatch.setattr(ray, 'cancel', lambda stream: None)
    worker = ray_engine.VideoWorker('again', SegmentOptions(probe))
    record, = worker(dict(video=[videos / 'a.mp4'], name=['a']))['record']
    assert json.loads(record)['error'] == f'{videos}/a.mp4: damaged after 2 s' and results('again') == {}
    record, = ray_engine.VideoWorker('out', SegmentOptions('absent', 'w'))(dict(video=['x'], name=['x']))['record']
    assert 'absent' in json.loads(record)['fatal']


def test_each_engine_gives_the_options_of_the_model_to_the_inferencer(videos, here, monkeypatch):
    pytest.importorskip('ray', reason='the packages of requirements/ray.txt are not installed')
    from mmavs.batch_inference import ray_engine, remote_decoding

    taken, parameters = [], signature(apis.AVSInferencer)

    def take(*arguments):
        taken.append(parameters.bind(*arguments).arguments)
        raise InterruptedError

    monkeypatch.setattr(apis, 'AVSInferencer', take)
    monkeypatch.setattr(remote_decoding, 'RemoteDecodingInferencer', take)
    options = ('--precision', 'bf16', '--compile', '--device', 'cpu', '--mask-prior', 'none')
    with pytest.raises(InterruptedError):
        run('--list', videos, *options)
    # Ray Data is replaced: what it would give to its workers makes one here.
    monkeypatch.setattr(ray_engine, 'connect', lambda *_: False)
    monkeypatch.setattr(ray_engine, 'worker_room', lambda *_: 2)
    monkeypatch.setattr('ray.cluster_resources', lambda: dict(CPU=4.0))
    monkeypatch.setattr(ray_engine, '_run', lambda ray, todo, out, options, *_: ray_engine.VideoWorker(out, options))
    with pytest.raises(InterruptedError):
        run('--list', videos, *options, '--engine', 'ray')
    assert taken == 2 * [dict(model='m', weights='w', device='cpu', mask_prior='none', precision='bf16', compile=True)]


def test_without_an_address_ray_is_started_although_a_cluster_is_running():
    from mmavs.batch_inference.ray_cluster import connect

    calls = []
    ray = SimpleNamespace(is_initialized=lambda: False, init=lambda **options: calls.append(options))
    assert connect(ray, None, 60) and connect(ray, 'host:1', 60)
    started, joined = calls
    # 'local': ray.init() joins the cluster of the machine, where it refuses a number of CPUs.
    assert started['address'] == 'local' and started['num_cpus'] >= 60
    assert joined['address'] == 'host:1' and 'num_cpus' not in joined

    def fail(**options):
        raise Exception('timed out during startup')  # the class that Ray raises

    ray.init = fail
    with pytest.raises(ValueError, match=r'^Ray cannot be used \(timed out during startup\): start a cluster'):
        connect(ray, None, 60)


def test_workers_without_room_in_the_cluster_are_a_message(capsys):
    from mmavs.batch_inference.ray_cluster import worker_room

    machines = [dict(CPU=4.0, GPU=1.0), dict(CPU=3.0)]
    nodes = [dict(Alive=alive, Resources=resources) for alive, resources in zip((1, 1, 0), [*machines, dict(CPU=9.0)])]
    ray = SimpleNamespace(nodes=lambda: nodes, cluster_resources=lambda: dict(CPU=7.0, GPU=1.0),
                          available_resources=lambda: dict(CPU=7.0))
    assert worker_room(ray, dict(CPU=2), None) == worker_room(ray, dict(CPU=2), 3) == 3
    assert capsys.readouterr().err == ''
    assert worker_room(ray, dict(CPU=2), 8) == 3
    assert capsys.readouterr().err == (
        'warning: the Ray cluster has 7 CPU(s) on 2 machine(s), and a worker needs 2 CPU(s): it has room for 3 of 8 '
        'workers. The others begin when machines are added; lower --workers or --cpus-per-worker if none will be\n')
    with pytest.raises(ValueError, match=r'has 7 CPU\(s\) .* needs 5 CPU\(s\) on one machine: add machines, or lower'):
        worker_room(ray, dict(CPU=5), 1)
    assert worker_room(ray, dict(CPU=2, GPU=1), None) == 1
    assert '7 of 7 CPU(s) and 0 of 1 GPU(s) are free: the first worker begins when' in capsys.readouterr().err


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """A checkpoint of the small model, random."""
    path = tmp_path_factory.mktemp('weights') / 'tiny.pth'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.manual_seed(0)
        model = apis.init_model(TINY, device='cpu')
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def running_worker(directory, command):
    """Name of the first video that a worker says it segments while a command runs, and the process of the worker."""
    while command.poll() is None:
        for path in (directory / '_run/records').glob('*.json'):
            record = json.loads(path.read_text())
            if record['status'] == 'running' and record['name'] != 'broken':
                return record['name'], int(record['worker'].split(':')[1])
        time.sleep(0.002)
    raise AssertionError(f'the command ended with {command.returncode}')


def cluster_address(command):
    """Address of the cluster that a command has started, from the arguments of its process on this machine."""
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        with suppress(OSError):  # the process has ended
            parent = path.with_name('stat').read_text().rpartition(')')[2].split()[1]
            found = re.search(r'\0--gcs-address=([\d.:]+)', path.read_text())
            if found and int(parent) == command.pid:
                return found[1]
    raise AssertionError('no cluster runs')


def test_ray_gives_the_results_of_one_process_although_a_worker_is_killed(weights, videos, here, capfd):
    pytest.importorskip('ray', reason='the packages of requirements/ray.txt are not installed')
    model = ('--model', str(TINY), '--weights', str(weights))
    outputs = ('--outputs', 'png', 'npz', 'csv')
    engine = [sys.executable, '-m', 'mmavs', 'infer', '--list', str(videos), *outputs, *model, '--engine', 'ray']
    # A process of its own, because Ray reads its settings when it is imported. Who has no token is refused.
    environment = os.environ | dict(
        PYTHONPATH=str(Path(__file__).parents[1]), RAY_AUTH_MODE='token', RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S='0', RAY_worker_niceness='0',
        RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES=str(100 * 2**20))
    environment.pop('RAY_ADDRESS', None)
    command = subprocess.Popen([*engine, '--out', 'ray', '--workers', '2'], env=environment)
    with command:
        try:
            killed, worker = running_worker(here / 'ray', command)
            # The worker waits, so that the cluster goes on while another command joins it.
            os.kill(worker, signal.SIGSTOP)
            joined = subprocess.run(
                [*engine, '--out', 'other', '--address', cluster_address(command), '--cpus-per-worker', '50'],
                env=environment, stderr=subprocess.PIPE, text=True)
            os.kill(worker, signal.SIGKILL)
            command.wait()
        finally:
            command.terminate()
    assert command.returncode == 1 and joined.returncode == 1
    assert re.search(r'^error: the Ray cluster has \d+ CPU\(s\) on 1 machine\(s\), and a worker needs 50 CPU\(s\) on '
                     'one machine: add machines, or lower --cpus-per-worker$', joined.stderr, re.MULTILINE)
    run('--list', videos, '--out', 'loop', *outputs, status=1, model=model)
    loop, ray = manifest('loop/manifest.parquet'), manifest('ray/manifest.parquet')
    assert {name: row.pop('attempts') for name, row in ray.items()} == {name: 1 + (name == killed) for name in loop}
    for row in loop.values():
        row.pop('attempts')
    assert ray == loop and len(ray) == 4
    assert results('ray') == results('loop') and len(results('ray')) == 3 * 2 + 7
    # A run over finished videos starts no worker, so nothing is written again.
    Path('done.txt').write_text(f"{videos / 'a.mp4'}\n{videos / 'more/c.mp4'}\n")
    before = {path: path.stat().st_mtime_ns for path in Path('ray').rglob('masks.npz')}
    run('--list', 'done.txt', '--out', 'ray', *outputs, '--engine', 'ray', model=model)
    assert {path: path.stat().st_mtime_ns for path in Path('ray').rglob('masks.npz')} == before
    assert '2 of 2 video(s) are segmented already' in capfd.readouterr().err

"""``mmavs serve`` as its users meet it: a browser and a client of the API at a real server."""
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from shutil import which

import numpy as np
import pytest
import torch
from loud_model import CONFIG, LABEL, WIDE, LoudModel
from PIL import Image
from video_files import write_test_video

pytest.importorskip('gradio', reason='gradio is not installed: pip install -r requirements/web.txt')
pytest.importorskip('prometheus_client', reason='prometheus-client is not installed: pip install mmavs[web]')
playwright = pytest.importorskip('playwright.sync_api', reason='playwright is not installed: pip install playwright')

ROOT = Path(__file__).parents[1]
CHROMIUM = which('chromium') or which('chromium-browser') or which('google-chrome')
SIZE = (48, 64)
# Milliseconds; three minutes for what takes a second on a quiet machine.
PATIENCE = 180_000
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason='no Chromium is installed: apt-get install chromium')
LIMITS = ['--max-seconds', '100', '--max-mb', '2', '--max-pixels', '10000', '--queue', '3']


def start_server(arguments, log):
    """Start the command and return its process."""
    command = [sys.executable, '-m', 'mmavs', 'serve', *arguments]
    environment = dict(os.environ, PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'tests'}", PYTHONWARNINGS='ignore')
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    """Address of a server with a model that depends on the audio."""
    directory = tmp_path_factory.mktemp('server')
    config, checkpoint, log = directory / 'loud.py', directory / 'loud.pth', directory / 'log'
    config.write_text(CONFIG.format(base=ROOT / 'configs/avsegformer/avsegformer_tiny_synthetic.py'))
    torch.save(dict(state_dict=LoudModel().state_dict()), checkpoint)
    with log.open('w') as file:
        process = start_server([str(config), str(checkpoint), '--port', '0', *LIMITS], file)
    end = time.monotonic() + 2 * PATIENCE / 1000
    while not (found := re.search(r'http://[\d.:]+', log.read_text())):
        assert process.poll() is None and time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    yield found[0]
    process.send_signal(signal.SIGINT)
    process.wait(30)


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    """Three seconds of audio of the amplitudes 0.1, 0.2 and 0.3."""
    return write_test_video(tmp_path_factory.mktemp('videos') / 'loud.mp4', seconds=3, size=SIZE)


@pytest.fixture(scope='module')
def browser():
    with playwright.sync_playwright() as play:
        with play.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox']) as browser:
            yield browser


@pytest.fixture
def open_page(browser, server, request):
    """Function that opens the page; requests to other servers and errors of scripts fail the test."""
    contexts, foreign, errors = [], [], []

    def note(made):
        if not made.url.startswith((server, 'blob:', 'data:')):
            foreign.append(made.url)

    def open_it(width=1400, theme='light', height=1000):
        contexts.append(browser.new_context(viewport=dict(width=width, height=height), color_scheme=theme))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on('request', note)
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.goto(f'{server}/?__theme={theme}')
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not foreign and not errors


def upload(page, path):
    page.locator('input[type=file]').first.set_input_files(path)
    # The button that removes the video comes when it has been uploaded.
    page.get_by_label('Clear').or_(page.get_by_label('Remove')).first.wait_for()


def segment(page):
    page.get_by_role('button', name='Segment', exact=True).click()


def wait_for_all(page):
    """Wait for the result of the last audio."""
    page.get_by_role('radio', name='Swapped audio', disabled=False).wait_for()


def keep(page, name):
    """Keep a screenshot where the variable says, for the artefacts of CI."""
    directory = os.environ.get('MMAVS_SCREENSHOTS')
    if directory:
        Path(directory).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(directory) / f'{name}.png', full_page=True)


def download(page, name):
    with page.expect_download() as waiting:
        page.get_by_role('button', name=name).or_(page.get_by_role('link', name=name)).first.click()
    return Path(waiting.value.path()).read_bytes()


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(server, line):
    return float(next(x for x in get(f'{server}/metrics')[1].splitlines() if x.startswith(line)).split()[-1])


def wait_for_metric(server, line, value):
    end = time.monotonic() + PATIENCE / 1000
    while metric(server, line) != value:
        assert time.monotonic() < end, f'{line} is {metric(server, line)}, expected {value}'
        time.sleep(0.1)


@needs_browser
def test_masks_follow_the_audio_and_can_be_downloaded(open_page, video, server):
    mask_utils = pytest.importorskip('pycocotools.mask', reason='pycocotools is not installed')
    page = open_page()
    upload(page, video)
    segment(page)
    wait_for_all(page)
    summary = page.locator('.mmavs-player .summary')
    assert re.search(r'Original audio: masks of \w+, on average 50\.0\s%', summary.inner_text())
    player = page.locator('.mmavs-player video:visible')
    assert player.count() == 1 and page.get_by_alt_text('Spectrogram').count() == 1
    keep(page, 'desktop')

    # The bar of the class jumps, by a click and by the keyboard.
    bar = page.get_by_role('button', name='Jump to').and_(page.locator(':visible'))
    player.evaluate('video => { video.currentTime = 2 }')
    bar.first.click()
    page.wait_for_function('document.querySelector(".mmavs-player video:not([hidden])").currentTime < 0.1')
    player.evaluate('video => { video.currentTime = 2 }')
    bar.first.press('Enter')
    page.wait_for_function('document.querySelector(".mmavs-player video:not([hidden])").currentTime < 0.1')

    # The switch shows at once that the masks follow, and keeps the place.
    player.evaluate('video => { video.currentTime = 1 }')
    page.get_by_role('radio', name='Muted').check()
    assert summary.inner_text() == 'Muted: no mask.'
    assert bar.count() == 0
    assert player.evaluate('video => video.currentTime') == pytest.approx(1, abs=0.2)
    keep(page, 'desktop_muted')
    page.get_by_role('radio', name='Original audio').check()
    assert bar.count() == 1

    labels = json.loads(download(page, 'Masks (RLE)'))
    masks = [mask_utils.decode(annotation['segmentation']) for annotation in labels['annotations']]
    assert len(masks) == 6 and {annotation['category_id'] for annotation in labels['annotations']} == {LABEL}
    expected = np.zeros(SIZE, np.uint8)
    expected[:, :SIZE[1] // 2] = 1
    assert all(np.array_equal(mask, expected) for mask in masks)
    with zipfile.ZipFile(io.BytesIO(download(page, 'Masks (PNG)'))) as archive:
        assert archive.namelist() == [f'masks/{k:05d}.png' for k in range(6)]
        image = np.array(Image.open(io.BytesIO(archive.read('masks/00000.png'))))
    assert np.array_equal(image != 0, expected.astype(bool))
    assert download(page, 'Cut-out')[:4] == b'\x1aE\xdf\xa3'  # WebM


@needs_browser
def test_a_job_can_be_cancelled_and_the_next_one_runs(open_page, server, video, tmp_path):
    long = write_test_video(tmp_path / 'long.mp4', seconds=90, fps=1, size=(48, WIDE))
    page = open_page()
    upload(page, long)
    before = metric(server, 'mmavs_jobs_total{outcome="cancelled"}')
    segment(page)
    wait_for_metric(server, 'mmavs_running_jobs', 1)
    page.get_by_role('button', name='Cancel').click()
    page.get_by_text('The job was cancelled.').wait_for()
    wait_for_metric(server, 'mmavs_jobs_total{outcome="cancelled"}', before + 1)
    wait_for_metric(server, 'mmavs_idle_workers', 1)
    page.get_by_label('Clear').or_(page.get_by_label('Remove')).first.click()
    upload(page, video)
    segment(page)
    wait_for_all(page)


@needs_browser
def test_a_hostile_file_ends_in_a_sentence_and_the_server_goes_on(open_page, server, tmp_path):
    hostile = tmp_path / 'hostile.mp4'
    hostile.write_bytes(b'\x00\x00\x00\x18ftypmp42' + bytes(range(256)) * 50)
    page = open_page()
    upload(page, hostile)
    segment(page)
    message = page.get_by_text('FFmpeg cannot read')
    message.first.wait_for()
    assert 'hostile.mp4' in message.first.inner_text() and '/' not in message.first.inner_text()
    keep(page, 'hostile')
    assert get(f'{server}/health')[0] == 200


@needs_browser
def test_the_page_fits_a_telephone_and_names_its_controls(open_page, video):
    page = open_page(width=390, height=844, theme='dark')
    upload(page, video)
    segment(page)
    wait_for_all(page)
    assert page.evaluate('document.documentElement.scrollWidth') <= 390
    # The choice of another source is whole below the video, and the footer has nothing between links that are hidden.
    block, choice = (page.locator(f'.mmavs-video{part}').bounding_box() for part in ('', ' .source-selection'))
    assert choice['y'] + choice['height'] <= block['y'] + block['height']
    assert page.locator('footer').inner_text().strip() == ''
    red, green, blue = (int(x) for x in re.findall(r'\d+', page.evaluate(
        'getComputedStyle(document.body).backgroundColor'))[:3])
    assert max(red, green, blue) < 64  # dark
    nameless = page.evaluate("""() => [...document.querySelectorAll('button, input:not([type=file]), select, video')]
        .filter(node => node.closest('.mmavs-player') && !node.getAttribute('aria-label') && !node.innerText
                && !(node.labels && node.labels.length)).map(node => node.outerHTML)""")
    assert nameless == []
    keep(page, 'telephone')
    page.set_viewport_size(dict(width=800, height=1000))
    assert page.evaluate('document.documentElement.scrollWidth') <= 800
    keep(page, 'tablet')


@pytest.fixture(scope='module')
def client(server, tmp_path_factory):
    library = pytest.importorskip('gradio_client')
    return library.Client(server, verbose=False, download_files=str(tmp_path_factory.mktemp('downloads')))


def test_the_api_segments_and_downloads(client, video):
    from gradio_client import handle_file

    result, notes, *files = client.predict(handle_file(str(video)), fps=1, compared=False, api_name='/segment')
    assert [Path(file).name for file in files] == [
        'overlay.mp4', 'masks_png.zip', 'masks_rle.json', 'cutout.webm', 'classes.csv']
    condition, = result['conditions']
    assert condition['condition'] == 'original' and condition['covered'] == pytest.approx(0.5)
    band, = condition['bands']
    assert band['times'] == [dict(start=0, end=3, share=pytest.approx(0.5))]
    assert (result['duration'], notes) == (3, '')


@pytest.mark.parametrize('options, message', [
    (dict(seconds=110, fps=1), '110.0 seconds, expected at most 100: cut the video'),
    (dict(seconds=1, size=(120, 160)), 'frames of 160x120 pixels, expected at most 10000 pixels')])
def test_a_video_beyond_the_limits_is_a_sentence(client, tmp_path, options, message):
    from gradio_client import handle_file

    path = write_test_video(tmp_path / 'big.mp4', **options)
    with pytest.raises(Exception, match=message) as error:
        client.predict(handle_file(str(path)), fps=1, api_name='/segment')
    assert 'big.mp4: ' in str(error.value) and '/' not in str(error.value)


def test_no_answer_names_a_directory_of_the_server_and_no_other_file_is_read(server, client):
    import httpx

    with httpx.Client(base_url=server, timeout=60) as http:
        uploaded = http.post('/gradio_api/upload', files=dict(files=('a.mp4', b'0123')))
        path, = uploaded.json()
        assert path.startswith('/mmavs-files/') and path.endswith('/a.mp4')
        assert http.get(f'/gradio_api/file={path}').content == b'0123'
        texts = [uploaded.text, http.get('/').text, http.get('/config').text, http.get('/gradio_api/info').text]
        for name in ('/etc/hostname', f'{path}/../../../etc/hostname', str(ROOT / 'README.md')):
            answer = http.get(f'/gradio_api/file={name}')
            assert answer.status_code in (403, 404)
            body = dict(data=[dict(path=name, meta=dict(_type='gradio.FileData')), None, 1, False],
                        session_hash='test', api_name='/segment')
            event = http.post('/gradio_api/call/segment', json=body).json()['event_id']
            texts += [answer.text, http.get(f'/gradio_api/call/segment/{event}').text]
            assert 'event: error' in texts[-1]
        assert http.post('/gradio_api/upload', files=dict(files=('a.mp4', b'0' * 3 * 2**20))).status_code == 413
        assert http.get('/health', headers=dict(host='example.com')).status_code == 400
    for text in texts:
        assert 'mmavs-serve-' not in text and sys.prefix not in text and str(Path.home()) not in text


def test_under_load_every_job_is_answered_or_refused_and_the_limits_hold(server, video, monkeypatch):
    pytest.importorskip('gradio_client')
    monkeypatch.syspath_prepend(ROOT / 'tools/benchmarks')
    import load_server

    report = load_server.load(server, video, num_clients=6, seconds=3)
    assert load_server.faults(report) == [] and report['failures'] == []
    jobs = report['jobs']
    # One job runs and three wait: the other two clients are refused.
    assert jobs['sent'] == jobs['answered'] + jobs['refused'] and jobs['answered'] > 3 and jobs['refused'] >= 1
    assert report['seconds_per_job']['p95'] >= report['seconds_per_job']['p50'] > 0
    peaks = {name: (peak['peak'], peak['limit']) for name, peak in report['peaks'].items()}
    assert peaks['mmavs_running_jobs'] == (1, 1)
    peak, limit = peaks['mmavs_queued_jobs']
    assert 0 < peak <= limit == 3
    peak, limit = peaks['mmavs_memory_bytes{process="workers"}']
    assert 0 < peak < limit
    report['jobs']['lost'], report['peaks']['mmavs_queued_jobs']['peak'] = 1, 4
    assert load_server.faults(report) == ['1 job(s) lost', 'mmavs_queued_jobs was 4, the limit is 3']


def test_health_and_metrics(server):
    status, health = get(f'{server}/health')
    assert status == 200 and json.loads(health)['models'] == ['loud'] and json.loads(health)['workers'] == 1
    assert metric(server, 'mmavs_memory_bytes{process="workers"}') > 2**20

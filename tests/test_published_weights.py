"""Published weights by name: fetched from a server of this machine, checked, converted once, and used without it."""
import hashlib
import io
import json
import multiprocessing
import re
import shutil
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import test_avsegformer_converter as avsegformer
import torch
from test_converters import CONVERT, randoms, swin_shapes, vct_config, vct_shapes
from test_tpavi_head import small  # noqa: F401

from mmavs.apis import convert_checkpoint, init_model, published_weights
from mmavs.apis.weights import fetch_backbone, resolve_weights
from mmavs.checkpoint.fetching import DownloadError, fetch
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.cli import main
from mmavs.utils import zoo
from mmavs.utils.config import load_config
from mmavs.utils.published import read_published
from mmavs.utils.zoo import read_backbones, read_zoo

REPOSITORY = CONVERT.parents[2]
VCT, DRIVE, TPAVI = '/authors/VCT/resolve/main/s4/model_best.pth', '/uc?id=file-id', '/files/tpavi.pt'
# A model of each converter on each kind of host: name, path on the server, place in the cache, license.
KINDS = pytest.mark.parametrize('name, served, place, license', [
    ('small_vct', VCT, 'huggingface.co/authors/VCT/s4/model_best.pth', 'MIT'),
    ('small_avsegformer', DRIVE, 'drive.google.com/file-id.pth', 'none stated'),
    ('small_tpavi', TPAVI, '127.0.0.1_{port}/files/tpavi.pt', 'Apache-2.0'),
], ids=['vct-hugging_face', 'avsegformer-google_drive', 'tpavi-url'])


class Host(ThreadingHTTPServer):
    """Server of files, as the web, Hugging Face and Google Drive serve them.

    Attributes:
        files: Path -> content.
        is_cut: Whether connections end after half of the file.
        pause: Seconds before a file is sent.
        tag: SHA-256 that it states on Hugging Face; None: that of the file.
        downloads: Paths of the files that were asked for.
    """
    daemon_threads = True

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Answer)
        self.files, self.is_cut, self.pause, self.tag, self.downloads = {}, False, 0, None, []
        self.url = f'http://127.0.0.1:{self.server_port}'
        threading.Thread(target=self.serve_forever, args=(0.01, ), daemon=True).start()

    def handle_error(self, request, client_address):
        pass  # a client that has seen enough

    def stop(self):
        self.shutdown()
        self.server_close()


class Answer(BaseHTTPRequestHandler):

    def do_GET(self):
        path = re.sub('/resolve/[^/]+/', '/resolve/main/', self.path)  # a commit stands for main
        content = self.server.files.get(path)
        if content is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header('Content-Length', len(content))
        self.send_header('Content-Type', 'application/octet-stream')
        if '/resolve/' in path:
            self.send_header('ETag', f'"{self.server.tag or digest(content)}"')
            self.send_header('X-Repo-Commit', '0' * 40)
        if '/uc?' in path:
            self.send_header('Content-Disposition', 'attachment; filename="x.pth"')
        self.end_headers()
        if self.command == 'GET':
            self.server.downloads.append(path)
            time.sleep(self.server.pause)
            self.wfile.write(content[:len(content) // 2] if self.server.is_cut else content)

    def do_HEAD(self):
        self.do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def host(monkeypatch, tmp_path):
    """The server, to which huggingface_hub and gdown are directed."""
    hub, requests = pytest.importorskip('huggingface_hub'), pytest.importorskip('requests')
    pytest.importorskip('gdown')
    server, send = Host(), requests.Session.request
    monkeypatch.setattr(hub.constants, 'ENDPOINT', server.url)
    monkeypatch.setattr(hub.constants, 'HUGGINGFACE_CO_URL_TEMPLATE',
                        server.url + '/{repo_id}/resolve/{revision}/{filename}')
    monkeypatch.setattr(requests.Session, 'request', lambda self, method, url, **options: send(
        self, method, url.replace('https://drive.google.com', server.url), **options))
    monkeypatch.setenv('HOME', str(tmp_path))  # cookies of gdown
    yield server
    server.stop()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """PyTorch's cache."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache/hub/mmavs'


def digest(content):
    return hashlib.sha256(content).hexdigest()


def file_of(weights):
    """Content of a checkpoint file."""
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


@pytest.fixture
def small_zoo(host, small, tmp_path, monkeypatch):  # noqa: F811
    """A zoo of small seeded models, each published on another host; function that writes its metafile anew."""
    _, tpavi = small
    root = tmp_path / 'zoo'
    (root / 'configs/_base_').mkdir(parents=True)
    shutil.copy(tpavi / 'config.py', root / 'configs/small_tpavi.py')
    (root / 'configs/small_vct.py').write_text(f'model = {vct_config(2)}')
    (root / 'configs/small_avsegformer.py').write_text(
        f"default_scope = 'mmavs'\nmodel = {avsegformer.model_config()}")
    host.files = {
        VCT: file_of(dict(model=randoms(vct_shapes(2, None)))),
        DRIVE: file_of(avsegformer.published(avsegformer.build())[0]),
        TPAVI: (tpavi / 'avsbench.pth').read_bytes(),
        '/vggish.pth': file_of(small[0].audio_backbone.state_dict()),
    }
    (root / 'configs/_base_/pretrained.yml').write_text(json.dumps(dict(Backbones=[
        dict(Name='small-vggish', Path=str(tpavi / 'vggish.pth'), Weights=dict(URL=f'{host.url}/vggish.pth')),
        dict(Name='small-swin', Path='pretrained/swin_mmseg.pth', Weights=dict(URL=f'{host.url}/swin.pth'),
             Converter='swin'),
    ])))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, 'zoo_root', lambda: root)

    def write(**changes):
        weights = dict(
            small_vct=dict(HuggingFace='authors/VCT', File='s4/model_best.pth', License='MIT'),
            small_avsegformer=dict(GoogleDrive='file-id', License='none stated'),
            small_tpavi=dict(URL=host.url + TPAVI, License='Apache-2.0'),
            small_unpublished=dict(Unpublished='the authors keep them'))
        entries = []
        for name, value in weights.items():
            origin = dict(Weights=value | changes.get(name, {}), Converter=name.removeprefix('small_'))
            entries.append(dict(Name=name, Config=f'configs/{name}.py', Metadata={'Training Data': 'none'}, **{
                'In Collection': 'Small', 'Converted From': origin}))
        (root / 'metafile.yml').write_text(json.dumps(dict(Models=entries)))
        (root / 'model-index.yml').write_text('Import: [metafile.yml]')
        read_zoo.cache_clear()
        read_backbones.cache_clear()

    write()
    yield write
    read_zoo.cache_clear()
    read_backbones.cache_clear()


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(x, other[key]) for key, x in one.items())


def files_below(directory):
    return sorted(path for path in directory.rglob('*') if path.is_file() and path.suffix != '.lock')


# ---- fetch, convert and load ----


@KINDS
def test_published_weights_are_fetched_converted_once_and_used_without_network(
        small_zoo, host, cache, tmp_path, capsys, name, served, place, license):
    if name == 'small_tpavi':  # its authors' file lacks the audio backbone, which the config names
        fetch_backbone(read_backbones()['small-vggish'])
    model = init_model(name, 'published', 'cpu')
    (tmp_path / 'by_hand.pth').write_bytes(host.files[served])
    convert_checkpoint(name.removeprefix('small_'), tmp_path / 'by_hand.pth', tmp_path / 'ours.pth',
                       tmp_path / f'zoo/configs/{name}.py')
    assert same_weights(model.state_dict(), read_checkpoint(tmp_path / 'ours.pth')['state_dict'])
    message = capsys.readouterr().err
    assert f'{name}: weights from {read_zoo()[name].weights[0].where}; license: {license}\n' in message

    fetched = cache / place.format(port=host.server_port)
    assert fetched.read_bytes() == host.files[served]
    record = fetched.with_name(fetched.name + '.sha256')
    assert record.read_text() == f'{digest(host.files[served])}  {fetched.name}\n'
    count = len(host.downloads)
    host.stop()
    converted = published_weights(name)
    assert same_weights(read_checkpoint(converted)['state_dict'], model.state_dict())
    before = converted.stat().st_mtime_ns
    fetched.unlink()  # the converted file is enough
    assert published_weights(name) == converted and converted.stat().st_mtime_ns == before
    assert len(host.downloads) == count
    assert not [path for path in files_below(cache) if 'partial' in str(path) or 'incomplete' in str(path)]


@KINDS
def test_without_network_one_line_names_the_address_and_a_place_that_is_read(
        small_zoo, host, cache, tmp_path, name, served, place, license):
    host.stop()
    place, where = cache / place.format(port=host.server_port), read_zoo()[name].weights[0].where
    with pytest.raises(DownloadError) as error:
        published_weights(name)
    message = str(error.value)
    assert re.fullmatch(rf'cannot download {re.escape(where)} \(.*refused.*\): put the file at {place}', message)
    assert not files_below(cache)
    place.write_bytes(host.files[served])
    (tmp_path / 'vggish.pth').write_bytes(host.files['/vggish.pth'])
    assert init_model(name, 'published', 'cpu')


@KINDS
@pytest.mark.parametrize('fault', ['missing', 'cut'])
def test_a_file_that_does_not_come_whole_is_not_kept(small_zoo, host, cache, name, served, place, license, fault):
    content = host.files[served]
    if fault == 'missing':
        del host.files[served]
    host.is_cut = fault == 'cut'
    with pytest.raises(DownloadError, match='cannot download .*: put the file at') as error:
        published_weights(name)
    assert '\n' not in str(error.value)
    if fault == 'missing':
        assert ('Failed to retrieve file url: ' if 'uc?' in served else '404') in str(error.value)
    assert not files_below(cache)
    host.files[served], host.is_cut = content, False
    if name != 'small_tpavi':
        published_weights(name)  # an attempt that failed leaves nothing behind that is in the way


def test_a_file_that_is_not_the_one_that_hugging_face_states_is_not_kept(small_zoo, host, cache):
    host.tag = '0' * 64
    with pytest.raises(DownloadError, match=r'\(the SHA-256 is not that of the server\): put the file at'):
        published_weights('small_vct')
    assert not files_below(cache)


def test_a_web_page_in_place_of_the_file_is_not_kept(small_zoo, host, cache):
    host.files[TPAVI] = b'\n<!DOCTYPE html><html>Sign in to the network of this hotel</html>'
    with pytest.raises(DownloadError, match=r'\(the answer is a web page, not the file\): put the file at'):
        published_weights('small_tpavi')
    assert not files_below(cache)


def test_a_file_on_a_page_is_fetched_by_a_person(host, cache, small_zoo):
    weights = read_published(dict(Page='https://example.org/files'), 'vct', 'small_vct')
    place = cache / 'by_hand/small_vct.pth'
    with pytest.raises(DownloadError, match=f'https://example.org/files: this file cannot .* put it at {place}'):
        fetch(weights, cache / weights.place)
    place.parent.mkdir(parents=True)
    place.write_bytes(host.files[VCT])
    assert fetch(weights, cache / weights.place) == digest(host.files[VCT])


# ---- the file is that of the first use ----


def test_a_file_that_its_authors_replaced_is_refused_until_the_user_accepts_it(small_zoo, host, cache):
    first = published_weights('small_vct')
    fetched, = cache.rglob('model_best.pth')
    old = digest(host.files[VCT])
    fetched.unlink()
    shutil.rmtree(first.parent)
    host.files[VCT] = file_of(dict(model=randoms(vct_shapes(2, None), seed=1)))
    new = digest(host.files[VCT])
    for _ in range(2):
        with pytest.raises(ValueError, match=f'is {new}, at its first use it was {old}: .* It was not kept; to accept '
                           f'the new file, remove {fetched}.sha256'):
            published_weights('small_vct')
        assert not fetched.exists() and not first.exists()
    fetched.with_name(f'{fetched.name}.sha256').unlink()
    second = published_weights('small_vct')
    assert second != first and fetched.read_bytes() == host.files[VCT]


def test_a_file_that_changed_on_the_disk_is_refused(small_zoo, host, cache):
    published_weights('small_vct')
    fetched, = cache.rglob('model_best.pth')
    fetched.write_bytes(host.files[VCT] + b'x')
    with pytest.raises(ValueError, match=f'is {digest(host.files[VCT] + b"x")}, at its first use it was '
                       f'{digest(host.files[VCT])}: .* Remove it to download it again'):
        published_weights('small_vct')


def test_a_stated_sha256_counts_at_the_first_use(small_zoo, host, cache):
    small_zoo(small_vct=dict(SHA256='0' * 64))
    with pytest.raises(ValueError, match=f'is {digest(host.files[VCT])}, the metafile states {"0" * 64}: .*not kept'):
        published_weights('small_vct')
    assert not files_below(cache)
    small_zoo(small_vct=dict(SHA256=digest(host.files[VCT]).upper()))
    published_weights('small_vct')


def test_a_file_that_cannot_be_converted_is_not_remembered(small_zoo, host, cache):
    host.files[VCT] = file_of(dict(model={'surprise.weight': torch.zeros(1)}))
    with pytest.raises(ValueError, match='surprise.weight'):
        published_weights('small_vct')
    assert not list(cache.rglob('*.sha256')) and not list(cache.rglob('converted/*'))


def test_files_of_one_name_are_kept_apart():
    places = {read_zoo()[f'vct_swin-b_{subset}_mask-prior'].weights[0].place for subset in ('s4', 'ms3', 'avss')}
    assert len(places) == 3 and {place.rpartition('/')[2] for place in places} == {'model_best.pth'}


def test_two_processes_fetch_and_convert_once(small_zoo, host, cache):
    host.pause = 0.3  # the second one begins while the first one downloads
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=published_weights, args=('small_vct', )) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert host.downloads == [VCT]
    assert init_model('small_vct', published_weights('small_vct'), 'cpu')


def test_weights_in_an_installed_package_are_copied_and_a_missing_package_is_named(tmp_path, monkeypatch):
    weights = read_published(dict(Package='small-weights', File='small_weights/models/a.pth'), None, 'a')
    place, packages = tmp_path / 'cache' / weights.place, tmp_path / 'packages'
    with pytest.raises(ImportError, match='^a.pth: these weights are a file of the package small-weights, which is not '
                       'installed: pip install small-weights$'):
        fetch(weights, place)
    for file, content in (('small_weights-1.0.dist-info/METADATA', b'Name: small-weights\nVersion: 1.0\n'),
                          (weights.file, b'tensors')):
        (packages / file).parent.mkdir(parents=True)
        (packages / file).write_bytes(content)
    monkeypatch.syspath_prepend(packages)
    assert fetch(weights, place) == digest(b'tensors') and place.read_bytes() == b'tensors'
    assert files_below(tmp_path / 'cache') == [place]


# ---- names ----


def test_a_model_without_published_weights_names_some_that_have_them(small_zoo, tmp_path):
    for config in ('small_unpublished', str(tmp_path / 'zoo/configs/small_unpublished.py')):
        with pytest.raises(ValueError, match=r'^small_unpublished: has no published weights \(the authors keep them\)'
                           '. Models that have some: .*small_vct') as error:
            resolve_weights(config, 'published')
        assert '\n' not in str(error.value)
    with pytest.raises(ValueError, match='own.py: has no published weights, because it is not a config of the zoo'):
        resolve_weights('own.py', 'published')
    assert resolve_weights('own.py', 'mine.pth') == 'mine.pth'
    assert resolve_weights('own.py', './published') == './published'


def test_every_published_model_of_the_zoo_has_a_place_of_its_own_and_a_license():
    published = [x for info in read_zoo().values() for x in info.weights if x.is_published]
    published += [backbone.weights for backbone in read_backbones().values()]
    assert len(published) >= 19 and len({x.place for x in published}) == len(published)
    assert all(x.license for x in published)


def test_every_pretrained_file_that_a_config_names_is_known():
    known = {str(backbone.path) for backbone in read_backbones().values()}
    named = {match for path in (REPOSITORY / 'configs/_base_').rglob('*.py')
             for match in re.findall(r"checkpoint='(pretrained/[^']+)'", path.read_text())
             if '_tiny_' not in match}  # made by the tools
    assert named == known


@pytest.mark.parametrize('entry, message', [
    (dict(URL='https://x.org/a.pth', GoogleDrive='x'), 'found the keys URL, GoogleDrive, expected one of'),
    (dict(License='MIT'), 'found the keys License, expected one of'),
    (dict(URL='https://x.org/a.pth', Licence='MIT'), 'found the keys URL, Licence'),
    (dict(HuggingFace='a/b'), 'a/b lacks File'),
    (dict(Package='a'), 'a lacks File, the path in the package'),
    (dict(URL='https://x.org/a.pth', SHA256=11), 'write it in quotes'),
])
def test_a_wrong_entry_of_a_metafile_is_named(small_zoo, entry, message):
    with pytest.raises(TypeError, match=message):
        read_published(entry, 'vct', 'small_vct')


@pytest.mark.parametrize('package, name', [('huggingface_hub', 'small_vct'), ('gdown', 'small_avsegformer')])
def test_a_missing_package_is_named(small_zoo, cache, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f'downloading from .* needs the package {package}.*pip install'):
        published_weights(name)
    assert not files_below(cache)


# ---- the command and the tools ----


def test_the_command_prints_files_and_one_line_for_each_error(small_zoo, host, cache, capsys):
    del host.files[DRIVE]
    with pytest.raises(SystemExit) as end:
        main(['download', 'small_vct', 'small_avsegformer', 'smal_vct', 'small_unpublished'])
    assert end.value.code == 1
    captured = capsys.readouterr()
    assert captured.out == f"{published_weights('small_vct')}\n"
    errors = [line for line in captured.err.splitlines() if line.startswith('error: ')]
    for text, line in zip(('cannot download .*file-id .*Failed to retrieve', "'smal_vct' is neither .* mean small_vct",
                           'small_unpublished: has no published weights'), errors, strict=True):
        assert re.search(text, line)
    main(['download', 'small_vct', '--json'])
    assert json.loads(capsys.readouterr().out) == [dict(name='small_vct', file=str(published_weights('small_vct')))]


def test_the_command_puts_backbones_where_configs_expect_them(small_zoo, host, cache, tmp_path, capsys):
    config = str(tmp_path / 'zoo/configs/small_tpavi.py')
    with pytest.raises(FileNotFoundError, match="vggish.pth: no such checkpoint: 'mmavs download small-vggish'"):
        published_weights('small_tpavi')
    main(['download', '--backbones', config])
    assert capsys.readouterr().out == f"{tmp_path / 'vggish.pth'}\n"
    assert (tmp_path / 'vggish.pth').read_bytes() == host.files['/vggish.pth']
    init_model(config, 'published', 'cpu').audio_backbone.init_weights()

    host.files['/swin.pth'] = file_of(dict(model=randoms(swin_shapes())))
    main(['download', 'small-swin'])
    assert capsys.readouterr().out == 'pretrained/swin_mmseg.pth\n'
    converted = read_checkpoint('pretrained/swin_mmseg.pth')['state_dict']
    assert 'stages.0.blocks.0.norm1.weight' in converted
    count = len(host.downloads)
    main(['download', 'small-swin', 'small-vggish'])  # they are there
    assert len(host.downloads) == count


def test_a_config_without_pretrained_weights_is_named(small_zoo, tmp_path, capsys):
    main(['download', '--backbones', str(tmp_path / 'zoo/configs/small_avsegformer.py')])
    assert 'small_avsegformer.py: the model names no pretrained weights' in capsys.readouterr().err


@pytest.mark.parametrize('tool, others', [
    ('test', []), ('analysis_tools/audio_ablation', []), ('robustness', []),
    ('analysis_tools/draw_comparison', ['--clips', 'x', '--out', 'x.png']),
])
def test_tools_take_published_in_place_of_a_checkpoint(small_zoo, tmp_path, run_tool, tool, others):
    (tmp_path / 'zoo/configs/small_unpublished.py').write_text((tmp_path / 'zoo/configs/small_vct.py').read_text())
    with pytest.raises(SystemExit, match='^error: small_unpublished: has no published weights'):
        run_tool(tool, 'small_unpublished', 'published', *others)


def test_a_test_run_scores_published_weights(small_zoo, host, cache, tmp_path, run_tool, synthetic_root):
    # The form of OpenMMLab for weights that need no conversion: a URL.
    config = tmp_path / 'zoo/configs/small_own.py'
    config.write_text(f"_base_ = '{REPOSITORY}/configs/vct/vct_tiny_synthetic.py'\n")
    metafile = tmp_path / 'zoo/metafile.yml'
    metafile.write_text(json.dumps(dict(Models=[{
        'Name': 'small_own', 'In Collection': 'Small', 'Config': 'configs/small_own.py',
        'Metadata': {'Training Data': 'none'}, 'Weights': f'{host.url}/small_own.pth'}])))
    read_zoo.cache_clear()
    model = init_model(load_config(str(config)), device='cpu')
    host.files['/small_own.pth'] = file_of(dict(state_dict=model.state_dict()))
    run_tool('test', 'small_own', 'published', '--work-dir', tmp_path / 'work', '--out', tmp_path / 'metrics.json',
             '--cfg-options', f'test_dataloader.dataset.data_root={synthetic_root}/Multi-sources',
             'test_dataloader.num_workers=0')
    stamp = json.loads((tmp_path / 'metrics.json').read_text())['stamp']
    assert stamp['checkpoint_sha256'] == digest(host.files['/small_own.pth'])

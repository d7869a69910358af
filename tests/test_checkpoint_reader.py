"""The reader of checkpoints: what programs write is read, what no program writes is refused, quickly."""
import argparse
import importlib.util
import io
import pickle
import resource
import struct
import time
import warnings
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmavs.checkpoint.pickle_reader import DamagedPickleError, PickleReader
from mmavs.checkpoint.reading import normalize_checkpoint, read_checkpoint
from mmavs.checkpoint.tensor_file import load_tensor
from mmavs.checkpoint.vocabulary import NAMES

ROOT = Path(__file__).parents[1]
KINDS = ('zip', 'legacy', *range(6))


def save(content, path, kind='zip'):
    if isinstance(kind, int):
        path.write_bytes(pickle.dumps(content, kind))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == 'zip')
    return path


def archive(path, pickled, storage=b'\0' * 16, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, 'w', compression) as file:
        file.writestr('archive/data.pkl', pickled)
        file.writestr('archive/data/0', storage)
    return path


# ---- What programs write ----

@pytest.mark.parametrize('kind', KINDS)
def test_everything_that_a_training_stores_is_read(tmp_path, kind):
    layer = torch.nn.BatchNorm1d(3)
    arguments = argparse.Namespace(lr=0.1, name='run')
    content = dict(
        state_dict=layer.state_dict(),
        meta=dict(epoch=3, seed=None, classes=('a', 'b'), experiment_name='x', score=np.float64(0.5), flag=True),
        message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1., 3.], [1, 1])), runtime_info=OrderedDict(iter=2)),
        param_schedulers=[dict(milestones=Counter({3: 1}), base_values=[0.1])],
        args=arguments,
        arrays=[np.arange(6).reshape(2, 3), np.asfortranarray(np.ones((2, 3), np.float32)), np.array(['text', 'x']),
                np.array(True), np.arange(3, dtype='>i2')],
        names={1, 2}, blob=b'\xff\x00', size=torch.Size([2, 3]))
    if kind == 'legacy':
        del content['size']  # torch writes its class by another name
    read = read_checkpoint(save(content, tmp_path / 'x.pth', kind))
    weights = layer.state_dict()
    assert list(read['state_dict']) == list(weights)
    assert all(torch.equal(read['state_dict'][key], x) for key, x in weights.items())
    assert read['state_dict']._metadata == weights._metadata
    assert read['meta'] == content['meta'] and read['names'] == {1, 2} and read['blob'] == b'\xff\x00'
    history = read['message_hub']['log_scalars']['loss']
    assert history.mean() == 2 and history.statistics('max') == 3
    assert read['param_schedulers'] == content['param_schedulers'] and read['args'] == arguments
    for found, expected in zip(read['arrays'], content['arrays']):
        assert np.array_equal(found, expected) and found.dtype == expected.dtype.newbyteorder('=')


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
def test_tensors_of_all_types_with_shared_storages_are_read(tmp_path, kind, dtype):
    x = torch.arange(12).reshape(3, 4).to(dtype)
    content = dict(x=x, transposed=x.t(), part=x[1:, ::2], scalar=x[2, 3], empty=x[:0], parameter=None)
    if dtype.is_floating_point:
        content['parameter'] = torch.nn.Parameter(x)
    read = read_checkpoint(save(content, tmp_path / 'x.pth', kind))
    for key, value in content.items():
        assert value is None or torch.equal(read[key], value) and read[key].dtype == dtype
    if not isinstance(kind, int):  # a plain pickle holds a copy for each
        assert read['x'].data_ptr() == read['transposed'].data_ptr()


def test_map_location_is_that_of_torch_load(tmp_path):
    path = save(dict(x=torch.ones(2)), tmp_path / 'x.pth')
    seen = []
    read_checkpoint(path, lambda storage, location: seen.append((storage.nbytes(), location)))
    assert seen == [(8, 'cpu')]
    for location in (None, 'cpu', torch.device('cpu'), {'cpu': 'cpu'}):
        assert read_checkpoint(path, location)['x'].device.type == 'cpu'
    assert read_checkpoint(path, 'meta')['x'].device.type == 'meta'


# ---- What no program writes ----

FLOAT = b'ctorch\nFloatStorage\n'
STORAGE = b'(X\x07\x00\x00\x00storage' + FLOAT + b'X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ'


def tensor(size, stride, offset=0):
    """Instructions of a tensor in a storage of four floats."""
    def numbers(values):
        return b'(' + b''.join(b'\x8a\x09' + value.to_bytes(9, 'little', signed=True) for value in values) + b't'
    return (b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(' + STORAGE + numbers([offset])[1:-1] + numbers(size) +
            numbers(stride) + b'\x89ccollections\nOrderedDict\n)RtR.')


def test_a_tensor_inside_its_storage_is_read(tmp_path):
    data = np.arange(4, dtype='f4').tobytes()
    assert read_checkpoint(archive(tmp_path / 'x.pth', tensor([2, 2], [1, 2]), data)).tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize('size, stride, offset', [
    ([5], [1], 0), ([4], [1], 1), ([2, 2], [4, 1], 0), ([2], [2**62], 0), ([2**62], [0], 0), ([5], [0], 0),
    ([2], [-1], 1), ([-1], [1], 0), ([1], [1], -1), ([2**64], [1], 0), ([0], [1], 5), ([2], [1, 1], 0)])
def test_a_tensor_outside_of_its_storage_is_damaged(tmp_path, size, stride, offset):
    with pytest.raises(ValueError, match='damaged .*a tensor '):
        read_checkpoint(archive(tmp_path / 'x.pth', tensor(size, stride, offset)))


def test_a_million_views_of_one_storage_are_refused(tmp_path):
    one = tensor([4], [1])[2:-1]
    path = archive(tmp_path / 'x.pth', b'\x80\x02(' + STORAGE + b'q\x000' + one.replace(STORAGE, b'h\x00') * 2 + b'l.')
    assert len(read_checkpoint(path)) == 2
    large = archive(tmp_path / 'y.pth', (b'\x80\x02(' + STORAGE.replace(b'K\x04', b'J\x00\x00\x01\x00') + b'q\x000' +
                                         tensor([65536], [1])[2:-1].replace(STORAGE, b'h\x00') * 100 + b'l.'),
                    b'\0' * 262144)
    with pytest.raises(ValueError, match='32 times as large'):
        read_checkpoint(large)


@pytest.mark.parametrize('content, message', [
    (b'(lp0\ng0\na.', 'a container that holds itself'),
    (b'r\xff\xff\xff\x0f.', 'memo index 268435455'), (b'Nr\xff\xff\xff\x0f.', 'memo index 268435455'),
    (b'NB\xff\xff\xff\x7f.', '2147483647 bytes are stated'), (b'\x8e' + b'\xff' * 8 + b'.', 'bytes are stated'),
    (b'N\x96' + struct.pack('<Q', 2**40) + b'.', 'bytes are stated'),
    (b'\x95' + b'\xff' * 8 + b'N.', 'a frame is larger'), (b'}))s.', 'a tuple is a key'),
    (b'}]Ns.', 'a list is a key'), (b'}\x8a\x08' + b'\xff' * 7 + b'\x1fNs.', 'a int is a key'),
    (b'\x8f()\x90.', 'a tuple is a key'), (b'.', 'IndexError'), (b'N', 'IndexError'),
    (b'NNR.', 'a NoneType is called'), (b'iposix\nsystem\n.', 'unknown instruction'),
    (b'\x82\x01.', 'unknown instruction'), (b'ctorch\nFloatStorage\n.', r'a torch\.FloatStorage in place of a value'),
    (b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR.', 'a UnfinishedArray in place of a'),
], ids=range(18))
def test_instructions_that_no_program_writes_are_damage(tmp_path, content, message):
    path = tmp_path / 'x.pkl'
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf'x\.pkl: not a readable checkpoint .*({message})'):
        read_checkpoint(path)


@pytest.mark.parametrize('content, name', [
    (b'ctorch._utils\n_rebuild_tensor_v2\nN}X\x03\x00\x00\x00negNs\x86b.', 'the state of'),
    (b'cnumpy\nndarray\n(K\x01tR.', r'a call of numpy\.ndarray'),
    (b"cnumpy\ndtype\n(X\x01\x00\x00\x00Ol\x85R.".replace(b'l\x85', b't'), "an array of type 'O'"),
    (b'cnumpy\ndtype\n(X\x05\x00\x00\x00M8[s]tR.', r"an array of type 'M8\[s\]'"),
    (b'ctorch\nload\n.', r'torch\.load'), (b'cbuiltins\neval\n.', r'builtins\.eval'),
    (b'cmmengine.logging.history_buffer\nHistoryBuffer\n}b.', 'the state of a mmengine')])
def test_names_and_states_outside_of_the_vocabulary_are_refused(tmp_path, content, name):
    path = tmp_path / 'x.pkl'
    path.write_bytes(content)
    with pytest.raises(pickle.UnpicklingError, match=rf'x\.pkl: refused, the checkpoint asks for {name}'):
        read_checkpoint(path)


def test_no_file_changes_a_later_load(tmp_path):
    bad, good = tmp_path / 'bad.pkl', save(torch.ones(3), tmp_path / 'good.pkl', 4)
    bad.write_bytes(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\x00\x00\x00__defaults__}X\x03\x00\x00\x00neg\x88s"
                    b'\x85s\x86b.')
    defaults = torch._utils._rebuild_tensor_v2.__defaults__
    with pytest.raises(pickle.UnpicklingError, match='refused'):
        read_checkpoint(bad)
    assert torch._utils._rebuild_tensor_v2.__defaults__ == defaults and load_tensor(good).tolist() == [1, 1, 1]


def test_no_name_stands_for_a_function_of_a_library():
    values = [value.call if hasattr(value, 'call') else value for value in NAMES.values()]
    modules = {getattr(value, '__module__', '') for value in values if callable(value)}
    assert modules == {'mmavs.checkpoint.vocabulary'}


def test_shared_containers_that_unfold_without_end_are_refused(tmp_path):
    bomb = []
    for _ in range(60):
        bomb = [bomb, bomb]
    with pytest.raises(ValueError, match='share each other too often'):
        read_checkpoint(save(dict(x=bomb), tmp_path / 'x.pkl', 4))
    deep = []
    for _ in range(200):
        deep = [deep]
    with pytest.raises(ValueError, match='deeper than 100'):
        read_checkpoint(save(dict(x=deep), tmp_path / 'y.pkl', 4))


# ---- Archives ----

def test_every_flipped_bit_of_the_weights_is_found(tmp_path):
    path = save(dict(state_dict=dict(w=torch.randn(64, 64))), tmp_path / 'x.pth')
    data = path.read_bytes()
    start = data.index(b'data/0') + 64
    for position in range(start + 100, start + 16000, 1000):
        changed = bytearray(data)
        changed[position] ^= 64
        path.write_bytes(changed)
        with pytest.raises(ValueError, match='differs from its checksum'):
            read_checkpoint(path)


def test_compressed_overlapping_and_doubled_records_are_refused(tmp_path):
    pickled = tensor([4], [1])
    with pytest.raises(ValueError, match='compressed'):
        read_checkpoint(archive(tmp_path / 'a.pth', pickled, compression=zipfile.ZIP_DEFLATED))
    path = archive(tmp_path / 'b.pth', pickled)
    with warnings.catch_warnings(), zipfile.ZipFile(path, 'a') as file:
        warnings.simplefilter('ignore')
        file.writestr('archive/data/0', b'\1' * 16)
    with pytest.raises(ValueError, match='two records have one name'):
        read_checkpoint(path)
    path = archive(tmp_path / 'c.pth', pickled)
    data = path.read_bytes()
    # The second entry of the directory points to the first record.
    entry = data.rindex(b'PK\x01\x02')
    path.write_bytes(data[:entry + 42] + struct.pack('<I', 0) + data[entry + 46:])
    with pytest.raises(ValueError, match='overlaps'):
        read_checkpoint(path)


@pytest.mark.parametrize('name, message', [('archive/constants.pkl', 'TorchScript'), ('archive/byteorder', 'order')])
def test_other_archives_of_torch_are_named(tmp_path, name, message):
    path = archive(tmp_path / 'x.pth', tensor([4], [1]))
    with zipfile.ZipFile(path, 'a') as file:
        file.writestr(name, b'big')
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


def test_meta_that_is_no_dict_is_refused(tmp_path):
    path = save(dict(state_dict=dict(w=torch.ones(1)), meta=[('epoch', 1)]), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r"x\.pth: 'meta' is a list, expected a dict"):
        normalize_checkpoint(read_checkpoint(path), str(path))
    record = np.zeros(1, [('epoch', 'i4'), ('config', 'U9')])[0]
    with pytest.raises(pickle.UnpicklingError, match='refused'):
        read_checkpoint(save(dict(state_dict=dict(w=torch.ones(1)), meta=record), tmp_path / 'y.pth'))


# ---- Fuzzing ----

def test_a_thousand_hostile_files_are_read_or_refused_by_their_name(tmp_path):
    spec = importlib.util.spec_from_file_location('grammar', ROOT / 'tools/fuzz/grammar.py')
    grammar = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(grammar)
    make, path, outcomes = grammar.hostile_files(seed=0), tmp_path / 'hostile.pth', Counter()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for _ in range(1000):
        path.write_bytes(make())
        for read in (read_checkpoint, load_tensor):
            try:
                read(path)
                outcomes['read'] += 1
            except (ValueError, pickle.UnpicklingError, ImportError) as error:
                assert 'hostile.pth' in str(error)
                outcomes[type(error).__name__] += 1
    # The changed files test more than their first byte.
    assert outcomes['read'] > 20 and outcomes['ValueError'] > 500 and outcomes['UnpicklingError'] > 50
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    assert time.process_time() - start < 100


def test_the_interpreter_reports_where_a_pickle_is_damaged():
    with pytest.raises(DamagedPickleError, match='byte 2: IndexError'):
        PickleReader(b'Na.', NAMES).read()


def test_a_buffer_is_read_like_a_file():
    buffer = io.BytesIO()
    torch.save(dict(x=torch.ones(1)), buffer)
    from mmavs.checkpoint.reading import read_stream
    assert read_stream(buffer, 'the buffer')['x'].item() == 1

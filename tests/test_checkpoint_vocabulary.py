"""Arguments that no program writes: each name of a checkpoint's vocabulary checks its own, and no call is repeated."""
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from test_checkpoint_reader import FLOAT, STORAGE, archive, tensor

from mmavs.checkpoint.content import check_plain
from mmavs.checkpoint.pickle_reader import DamagedPickleError, Name, PickleReader, Unfinished
from mmavs.checkpoint.reading import normalize_checkpoint, read_checkpoint
from mmavs.checkpoint.storages import Budget
from mmavs.checkpoint.torch_files import LEGACY_PREFIX, _Storages
from mmavs.checkpoint.vocabulary import NAMES, VALUES


def text(value):
    return b'X' + struct.pack('<I', len(value)) + value


def call(name, *arguments):
    """Instructions that call ``module.name``."""
    module, _, name = name.rpartition(b'.')
    return b'c' + module + b'\n' + name + b'\n(' + b''.join(arguments) + b'tR'


def array(code=b'u1', shape=b'(K\x02t', data=b'C\x02\0\0', kind=b'cnumpy\nndarray\n', state=b''):
    dtype = call(b'numpy.dtype', text(code)) + state
    return (call(b'numpy.core.multiarray._reconstruct', kind, b'(K\x00t', b'C\x01b') + b'(K\x01' + shape + dtype +
            b'\x89' + data + b'tb')


HISTORY = b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
HISTORY_STATE = b'}(' + text(b'_log_history') + array() + text(b'_count_history') + array()
SPEC = {
    'fields of a record': (array(state=b'(K\x03X\x01\0\0\0|](K\x01e' + b'NNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb'),
                           'an array type with fields'),
    'version of a type': (array(state=b'(K\x09X\x01\0\0\0|NNNtb'), 'an array type with fields'),
    'byte order': (array(state=b'(K\x03X\x01\0\0\0xNNNtb'), 'an array type with fields'),
    'bytes of an array': (array(data=b'C\x03\0\0\0'), 'with 3 bytes'),
    'bool': (array(b'b1', data=b'C\x02\0\x02'), 'an array of bool with other values'),
    'characters': (array(b'U1', b'(K\x01t', b'C\x04\0\0\x11\0'), 'an array of texts with other values'),
    'class of an array': (array(kind=b'cbuiltins\nobject\n'), 'asks for an array of another class'),
    'shape': (array(shape=b'](K\x02e'), 'a shape that is'),
    'encoding': (call(b'_codecs.encode', text(b'x'), text(b'utf-16')), "encoding 'utf-16'"),
    'keys of an OrderedDict': (call(b'collections.OrderedDict', b']](]Nea'), 'a list is a key'),
    'pairs of an OrderedDict': (call(b'collections.OrderedDict', text(b'ab')), 'an OrderedDict without pairs'),
    'counts': (call(b'collections.Counter', b'}' + text(b'a') + text(b'b') + b's'), 'a Counter without counts'),
    'keys of a set': (call(b'builtins.set', b']]a'), 'a list is a key'),
    'keys of a frozenset': (b'(]\x91', 'a list is a key'),
    'device': (call(b'torch.device', text(b'CPU\n')), 'a device without a name'),
    'storage of a tensor': (call(b'torch._utils._rebuild_tensor_v2', b'K\x01K\x00))'), 'a tensor without a storage'),
    'parameter': (call(b'torch._utils._rebuild_parameter', b'K\x01'), 'a parameter without a tensor'),
    'class of a tensor': (
        call(b'torch._tensor._rebuild_from_type_v2', b'ccollections\nOrderedDict\nctorch\nTensor\n)N'),
        'asks for a tensor of another class'),
    'class of a state': (call(b'copyreg._reconstructor', b'cnumpy\nndarray\ncbuiltins\nobject\nN'),
                         r'asks for copyreg\._reconstructor'),
    'numbers of a history': (
        HISTORY + b')\x81}(' + text(b'_log_history') + b'K\x01' + text(b'_count_history') + b'K\x01ub',
        'a HistoryBuffer without numbers'),
    'length of a history': (
        HISTORY + b')\x81' + HISTORY_STATE + text(b'max_length') + b'K\x01ub', 'longer than it says'),
    'name of an argument': (b'cargparse\nNamespace\n)\x81}K\x01K\x02sb', 'an argument without a name'),
    'list as dict': (b'](K\x01K\x02u', 'a list gets 2 keys and values'),
    'key without value': (b'}(K\x01u', 'a dict gets 1 keys and values'),
    'reference': (b'K\x01Q', 'it refers to a storage outside of it'),
    'name that is not printable': (b'c\x1b[2J\nx\n', r"asks for '\\x1b\[2J\.x'"),
}


@pytest.mark.parametrize('content, message', SPEC.values(), ids=SPEC)
def test_arguments_that_no_program_writes_are_refused(tmp_path, content, message):
    (tmp_path / 'x.pkl').write_bytes(b'\x80\x02' + content + b'.')
    with pytest.raises((ValueError, pickle.UnpicklingError), match=rf'x\.pkl: .*{message}'):
        read_checkpoint(tmp_path / 'x.pkl')


def test_the_arrays_of_these_tests_are_read_without_a_change(tmp_path):
    (tmp_path / 'x.pkl').write_bytes(array() + b'.')
    assert read_checkpoint(tmp_path / 'x.pkl').tolist() == [0, 0]


def test_state_of_an_ordered_dict_is_its_metadata_only():
    read = PickleReader(b'ccollections\nOrderedDict\n)R}' + text(b'x') + b'K\x01sb.', NAMES).read()
    assert not vars(read)


BIG = b'B' + struct.pack('<I', 10000) + bytes(10000)
REPEATED = {
    'arrays': array(shape=b"(M\x10't", data=BIG)[:-1] + b'q\x000q\x010',
    'bytes': text(b'a' * 10000) + b'q\x00' + text(b'latin1') + b'\x86q\x010c_codecs\nencode\nq\x000',
    'dicts': b'(' + b''.join(b'(M' + struct.pack('<H', i) + b'Nl' for i in range(1000)) + b'l\x85q\x010'
             b'ccollections\nOrderedDict\nq\x000',
    'sets': b'(' + b''.join(b'M' + struct.pack('<H', i) for i in range(1000)) + b'l\x85q\x010cbuiltins\nset\nq\x000',
}


@pytest.mark.parametrize('kind', ['bytes', 'dicts', 'sets'])
def test_calls_that_copy_one_large_argument_again_and_again_are_refused(tmp_path, kind):
    for times, is_refused in ((1, False), (1000, True)):
        (tmp_path / 'x.pkl').write_bytes(b'\x80\x02' + REPEATED[kind] + b'(' + b'h\x00h\x01R' * times + b'l.')
        if not is_refused:
            assert len(read_checkpoint(tmp_path / 'x.pkl')) == 1
            continue
        with pytest.raises(ValueError, match='its calls take more than 32 times as much as it holds'):
            read_checkpoint(tmp_path / 'x.pkl')


def test_states_that_are_copied_again_and_again_are_refused(tmp_path):
    new = call(b'numpy.core.multiarray._reconstruct', b'cnumpy\nndarray\n', b'(K\x00t', b'C\x01b')
    state = array(shape=b"(M\x10't", data=BIG)[len(new):-1]
    (tmp_path / 'x.pkl').write_bytes(b'\x80\x03' + state + b'q\x000(' + (new + b'h\x00b') * 300 + b'l.')
    with pytest.raises(ValueError, match='its calls take more than 32 times as much as it holds'):
        read_checkpoint(tmp_path / 'x.pkl')


def test_an_object_that_has_its_value_is_not_replaced_again():
    class Part(Unfinished):
        def finish(self, state):
            return state

    part = Part()
    assert PickleReader(b'ca\nb\n)Rq\x00q\x01K\x05\x85bh\x00\x86.', {('a', 'b'): Name('b', lambda: part)}).read() == (
        (5, ), (5, ))
    assert part.memo == []


# ---- Archives and storages ----


def changed(path, offset, code, value):
    """Change a field of the last entry in the directory of an archive."""
    data = bytearray(path.read_bytes())
    struct.pack_into(code, data, data.rindex(b'PK\x01\x02') + offset, value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize('fields, message', [
    ([(8, '<H', 1)], 'compressed or encrypted'), ([(24, '<I', 17)], 'compressed or encrypted'),
    ([(20, '<I', 1000), (24, '<I', 1000)], 'lies outside of the file')])
def test_entries_that_lie_are_refused(tmp_path, fields, message):
    path = archive(tmp_path / 'x.pth', tensor([4], [1]))
    for field in fields:
        changed(path, *field)
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


@pytest.mark.parametrize('position, value', [(0, b'KP'), (30, b'other')])
def test_a_record_of_another_name_or_place_is_refused(tmp_path, position, value):
    path = archive(tmp_path / 'x.pth', tensor([4], [1]))
    data = bytearray(path.read_bytes())
    start = data.rindex(b'PK\x03\x04') + position
    data[start:start + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(ValueError, match="'archive/data/0' is not where the archive says"):
        read_checkpoint(path)


def test_records_that_no_tensor_uses_are_compared_too(tmp_path):
    path = archive(tmp_path / 'x.pth', tensor([4], [1]))
    with zipfile.ZipFile(path, 'a') as file:
        file.writestr('archive/version', b'3 of a kind')
    read_checkpoint(path)
    path.write_bytes(path.read_bytes().replace(b'3 of a kind', b'4 of a kind'))
    with pytest.raises(ValueError, match="'archive/version' differs from its checksum"):
        read_checkpoint(path)


def test_two_checkpoints_in_one_archive_are_refused(tmp_path):
    path = archive(tmp_path / 'x.pth', tensor([4], [1]))
    with zipfile.ZipFile(path, 'a') as file:
        file.writestr('other/data.pkl', b'N.')
    with pytest.raises(ValueError, match=r'an archive without data\.pkl'):
        read_checkpoint(path)


@pytest.mark.parametrize('old, new, message', [
    (b'storage' + FLOAT, b'modules' + FLOAT, 'a reference to something else'),
    (FLOAT, b'ctorch\nTensor\n', 'a reference to something else'),
    (b'X\x01\0\0\x000', b'K\x00', 'a storage without key and size'),
    (b'cpuK\x04', b'cpuK\x05', '16 bytes, 20 are stated')])
def test_storages_that_are_none_are_refused(tmp_path, old, new, message):
    assert old in tensor([4], [1])
    with pytest.raises(ValueError, match=message):
        read_checkpoint(archive(tmp_path / 'x.pth', tensor([4], [1]).replace(old, new)))


def test_a_tensor_of_another_type_than_its_dtype_is_refused(tmp_path):
    content = call(b'torch._utils._rebuild_tensor_v3', STORAGE, b'K\x00(K\x04t(K\x01t\x89N', text(b'x'))
    with pytest.raises(ValueError, match='a tensor without a storage or type'):
        read_checkpoint(archive(tmp_path / 'x.pth', content + b'.'))


def test_sizes_beyond_any_memory_are_refused_before_they_are_multiplied(tmp_path):
    with pytest.raises(ValueError, match=r'and offset 0\)'):
        read_checkpoint(archive(tmp_path / 'x.pth', tensor([2**64], [1])))
    (tmp_path / 'x.pkl').write_bytes(array(shape=b'(\x8a\x09' + (2**64).to_bytes(9, 'little') + b't') + b'.')
    with pytest.raises(ValueError, match='a shape that is'):
        read_checkpoint(tmp_path / 'x.pkl')


def test_bytes_that_are_no_bool_are_refused(tmp_path):
    save = pytest.importorskip('safetensors.torch').save_file
    save({'x': torch.ones(4, dtype=torch.bool)}, tmp_path / 'x.safetensors')
    data = (tmp_path / 'x.safetensors').read_bytes()
    (tmp_path / 'x.safetensors').write_bytes(data[:-1] + b'\x02')
    content = tensor([4], [1]).replace(FLOAT, b'ctorch\nBoolStorage\n')
    for path in (tmp_path / 'x.safetensors', archive(tmp_path / 'x.pth', content, b'\0\1\2\0')):
        with pytest.raises(ValueError, match='a tensor of bool with other values'):
            read_checkpoint(path)


NUMBERS, KEYS = struct.pack('<q4f', 4, 1, 2, 3, 4), b']' + text(b'0') + b'a'


def legacy(content, keys=KEYS, storages=NUMBERS, version=1001, is_little=b'\x88'):
    """A file of ``torch.save`` before version 1.6."""
    system = b'}' + text(b'little_endian') + is_little + b's.'
    return (LEGACY_PREFIX + b'.\x80\x02M' + struct.pack('<H', version) + b'.\x80\x02' + system + content +
            b'\x80\x02' + keys + b'.' + storages)


# A storage of these files has a sixth entry, for views.
CONTENT = tensor([4], [1]).replace(b'K\x04tQ', b'K\x04NtQ')


@pytest.mark.parametrize('options, message', [
    (dict(version=1000), 'another version'), (dict(is_little=b'\x89'), 'another version'),
    (dict(keys=b']'), 'storages are missing'), (dict(storages=struct.pack('<q', 4)), 'ends too early'),
    (dict(storages=struct.pack('<q4f', 3, 1, 2, 3, 4)), 'or is of another size'),
    (dict(content=CONTENT.replace(b'cpuK\x04', b'cpuJ\0\0\0\x40')), 'its storages are larger than the file')])
def test_old_files_are_checked(tmp_path, options, message):
    path = tmp_path / 'x.pth'
    path.write_bytes(legacy(CONTENT))
    assert read_checkpoint(path).tolist() == [1, 2, 3, 4]
    path.write_bytes(legacy(**(dict(content=CONTENT) | options)))
    with pytest.raises(ValueError, match=message):
        read_checkpoint(path)


def test_files_within_files_within_files_are_refused(tmp_path):
    content = legacy(CONTENT)
    for _ in range(2):
        load = call(b'torch.storage._load_from_bytes', b'B' + struct.pack('<I', len(content)) + content)
        (tmp_path / 'x.pkl').write_bytes(b'\x80\x03' + load + b'.')
        content = legacy(b'\x80\x03' + load + b'.', keys=b']', storages=b'')
        if _ == 0:
            assert read_checkpoint(tmp_path / 'x.pkl').tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match='files within files'):
        read_checkpoint(tmp_path / 'x.pkl')


# ---- Content ----


def test_arrays_of_objects_are_no_plain_content():
    with pytest.raises(DamagedPickleError, match='a ndarray in place of a value'):
        check_plain(np.array([None]), 100)


@pytest.mark.parametrize('value, message', [(torch.nan, '1 NaN'), (1j, '1 complex values')])
def test_averaged_weights_that_no_layer_computes_with_are_refused(value, message):
    checkpoint = dict(state_dict=dict(x=torch.ones(1)), ema_state_dict={'module.x': torch.tensor([value])})
    with pytest.raises(ValueError, match=rf'y\.pth: ema_state_dict\.module\.x holds {message}'):
        normalize_checkpoint(checkpoint, 'y.pth')


def test_a_pickle_with_the_ninth_byte_of_a_safetensors_file_is_read(tmp_path):
    (tmp_path / 'x.pkl').write_bytes(b'\x80\x02(' + text(b'{') + b't.')
    assert read_checkpoint(tmp_path / 'x.pkl') == ('{', )


def test_a_plain_pickle_has_no_storages():
    assert not {('torch', 'FloatStorage'), ('torch._utils', '_rebuild_tensor_v2')} & VALUES.keys()
    assert _Storages(Budget(0), lambda key, size: bytearray(size)).load(
        ('storage', NAMES['torch', 'FloatStorage'], '0', 'cpu', 0)).dtype == torch.float32


def test_names_of_other_alphabets_are_read(tmp_path):
    torch.save(dict(x=torch.ones(1)), tmp_path / 'Gewichte-ä模型.pth')
    assert read_checkpoint(tmp_path / 'Gewichte-ä模型.pth')['x'].item() == 1

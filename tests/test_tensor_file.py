import io
import os
import pickle

import numpy as np
import pytest
import torch

from mmavs.checkpoint.tensor_file import load_tensor


def save_zip(obj, file):
    torch.save(obj, file)


def save_legacy(obj, file):
    torch.save(obj, file, _use_new_zipfile_serialization=False)


SAVERS = [save_zip, save_legacy] + [lambda obj, file, p=p: pickle.dump(obj, file, protocol=p) for p in range(6)]
IDS = ['zip', 'legacy'] + [f'protocol {p}' for p in range(6)]


class Malicious:

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f'touch {self.marker}', )


@pytest.mark.parametrize('save', SAVERS, ids=IDS)
@pytest.mark.parametrize('kind', ['tensor', 'with gradient', 'parameter', 'view', 'half'])
def test_tensors_are_read(tmp_path, save, kind):
    x = torch.randn(5, 1, 96, 64)
    obj = {
        'tensor': x,
        'with gradient': x.clone().requires_grad_(),
        'parameter': torch.nn.Parameter(x),
        'view': x[1:3],
        'half': x.half()
    }[kind]
    with open(tmp_path / 'x.pkl', 'wb') as file:
        save(obj, file)
    loaded = load_tensor(tmp_path / 'x.pkl')
    assert type(loaded) is torch.Tensor and not loaded.requires_grad and loaded.dtype == obj.dtype
    assert torch.equal(loaded, obj.detach())


@pytest.mark.parametrize('protocol', range(6))
def test_arrays_are_read(tmp_path, protocol):
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(x, protocol))
    np.testing.assert_array_equal(load_tensor(tmp_path / 'x.pkl').numpy(), x)


def test_tensors_from_a_gpu_arrive_on_the_cpu(tmp_path):
    buffer = io.BytesIO()
    torch.save(torch.arange(4.), buffer, _use_new_zipfile_serialization=False)
    data = buffer.getvalue()
    # The location is a pickled string: one byte of length, then the characters.
    assert data.count(b'X\x03\x00\x00\x00cpu') == 1
    (tmp_path / 'x.pkl').write_bytes(data.replace(b'X\x03\x00\x00\x00cpu', b'X\x06\x00\x00\x00cuda:0'))
    loaded = load_tensor(tmp_path / 'x.pkl')
    assert loaded.device.type == 'cpu' and loaded.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize('save', SAVERS, ids=IDS)
def test_malicious_pickle_is_refused_and_not_executed(tmp_path, save):
    marker = tmp_path / 'marker'
    with open(tmp_path / 'x.pkl', 'wb') as file:
        save(Malicious(marker), file)
    with pytest.raises(pickle.UnpicklingError, match=r'x\.pkl: refused, the pickle asks for (posix|nt)\.system'):
        load_tensor(tmp_path / 'x.pkl')
    assert not marker.exists()
    pickle.loads(pickle.dumps(Malicious(marker)))
    assert marker.exists(), 'the pickle of this test is harmless and proves nothing'


def test_malicious_pickle_inside_a_tensor_storage_is_refused(tmp_path):
    marker = tmp_path / 'marker'
    inner = io.BytesIO()
    save_legacy(Malicious(marker), inner)

    class Storage:

        def __reduce__(self):
            return torch.storage._load_from_bytes, (inner.getvalue(), )

    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(Storage()))
    with pytest.raises(pickle.UnpicklingError, match='refused'):
        load_tensor(tmp_path / 'x.pkl')
    assert not marker.exists()


@pytest.mark.parametrize('name', [('builtins', 'eval'), ('numpy', 'fromfile'), ('torch', 'load'),
                                  ('torch._utils', '_rebuild_tensor_v2.__globals__')])
def test_globals_that_tensors_do_not_need_are_refused(tmp_path, name):
    module, attribute = (part.encode() for part in name)
    (tmp_path / 'x.pkl').write_bytes(b'\x80\x04\x8c' + bytes([len(module)]) + module + b'\x8c' +
                                     bytes([len(attribute)]) + attribute + b'\x93.')
    with pytest.raises(pickle.UnpicklingError, match=f'refused, the pickle asks for {name[0]}.{name[1]}'):
        load_tensor(tmp_path / 'x.pkl')


@pytest.mark.parametrize('save', SAVERS, ids=IDS)
@pytest.mark.parametrize('part', [0, 0.01, 0.5, 0.999])
def test_truncated_pickle_names_the_file(tmp_path, save, part):
    buffer = io.BytesIO()
    save(torch.randn(5, 1, 96, 64), buffer)
    data = buffer.getvalue()
    (tmp_path / 'x.pkl').write_bytes(data[:int(len(data) * part)])
    with pytest.raises(ValueError, match=r'x\.pkl: not a readable pickle'):
        load_tensor(tmp_path / 'x.pkl')


@pytest.mark.parametrize('content', [{'a': 1}, [1, 2], 'text', None, np.array(['text'])])
def test_other_content_is_named(tmp_path, content):
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r'x\.pkl: holds a \w+, expected one tensor'):
        load_tensor(tmp_path / 'x.pkl')


@pytest.mark.parametrize('save', SAVERS, ids=IDS)
def test_complex_numbers_are_named(tmp_path, save):
    with open(tmp_path / 'x.pkl', 'wb') as file:
        save(torch.ones(3) * 1j, file)
    with pytest.raises(ValueError, match=r'x\.pkl: holds 3 complex numbers'):
        load_tensor(tmp_path / 'x.pkl')


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'x\.pkl: no such file'):
        load_tensor(tmp_path / 'x.pkl')

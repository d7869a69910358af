"""Make hostile pickles, archives and safetensors files: instructions in random order, and valid files with changes."""
import io
import json
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch

GLOBALS = [('collections', 'OrderedDict'), ('collections', 'Counter'), ('_codecs', 'encode'),
           ('copyreg', '_reconstructor'), ('numpy', 'ndarray'), ('numpy', 'dtype'), ('argparse', 'Namespace'),
           ('mmengine.logging.history_buffer', 'HistoryBuffer'), ('torch', 'Size'), ('torch', 'device'),
           ('builtins', 'set'), ('builtins', 'getattr'), ('builtins', 'object'), ('builtins', 'bytearray'),
           ('numpy.core.multiarray', '_reconstruct'), ('numpy._core.multiarray', 'scalar'),
           ('numpy._core.numeric', '_frombuffer'), ('torch._utils', '_rebuild_tensor_v2'),
           ('torch._utils', '_rebuild_tensor_v3'), ('torch._utils', '_rebuild_parameter'),
           ('torch._tensor', '_rebuild_from_type_v2'), ('torch', 'FloatStorage'), ('torch', 'float32'),
           ('torch.storage', '_load_from_bytes'), ('torch.storage', 'UntypedStorage'), ('torch', 'Tensor'),
           ('os', 'system'), ('builtins', 'eval'), ('numpy', 'fromfile'), ('torch', 'load')]
TEXTS = ['latin1', 'f4', 'O', 'M8[s]', 'O,i8', 'U7', '<', '|', 'storage', '0', 'cpu', 'cuda:0', 'mean', '__init__', '']
NUMBERS = [0, 1, 2, 3, 4, 64, 96, 255, 256, -1, 2**15, 2**31 - 1, 2**31, 2**40, 2**61 - 1, 2**63 - 1, -2**63, 2**200]


def random_pickle(rng: random.Random) -> bytes:
    """Pickle of random instructions, most of which fit to what is on the stack."""
    parts = [b'\x80' + bytes([rng.choice([0, 2, 4, 5, 200])])]
    for _ in range(rng.randint(1, 60)):
        parts.append(_instruction(rng))
    return b''.join([*parts, b'.'])


def _instruction(rng: random.Random) -> bytes:
    kind = rng.randrange(10)
    if kind == 0:
        module, name = rng.choice(GLOBALS)
        return b'c' + f'{module}\n{name}\n'.encode()
    if kind == 1:
        number = rng.choice(NUMBERS)
        data = number.to_bytes(number.bit_length() // 8 + 1, 'little', signed=True)
        return b'\x8a' + bytes([len(data)]) + data
    if kind == 2:
        text = rng.choice(TEXTS).encode()
        return b'X' + struct.pack('<I', len(text)) + text
    if kind == 3:
        data = rng.randbytes(rng.choice([0, 1, 4, 16]))
        return rng.choice([b'C' + bytes([len(data)]), b'B' + struct.pack('<I', len(data)),
                           b'\x96' + struct.pack('<Q', len(data))]) + data
    if kind == 4:
        index = rng.choice([0, 1, 2, 3, 200, 2**28, 2**32 - 1])
        return rng.choice([b'r', b'j']) + struct.pack('<I', index)
    if kind == 5:
        return rng.choice([b'q', b'h']) + bytes([rng.randrange(6)])
    if kind == 6:
        return rng.choice([b'R', b'\x81', b'b', b'R', b'b', b'Q'])
    if kind == 7:
        return rng.choice([b'(', b't', b'l', b'd', b'e', b'u', b'a', b's', b'\x90', b'\x91', b'\x8f', b'0', b'1', b'2'])
    if kind == 8:
        return rng.choice([b'N', b'\x88', b')', b']', b'}', b'\x85', b'\x86', b'\x87', b'\x94', b'\x93'])
    # Sizes that are not there.
    return rng.choice([b'X', b'B', b'\x8b']) + struct.pack('<I', rng.choice([5, 2**31 - 1, 2**32 - 1])) + b'ab'


def valid_files(rng: random.Random) -> list[bytes]:
    """Files of all kinds with tensors, arrays and plain values."""
    weights = OrderedDict(a=torch.arange(6.).reshape(2, 3), b=torch.ones(3, dtype=torch.bool), c=torch.zeros(2).half())
    weights['shared'] = weights['a'].t()
    content = dict(state_dict=weights, meta=dict(epoch=1, names=('x', 'y'), score=np.float64(0.5)),
                   history=np.arange(rng.randint(1, 5)), optimizer=[dict(lr=1e-3, params=[0, 1])])
    files = []
    for options in ({}, dict(_use_new_zipfile_serialization=False)):
        buffer = io.BytesIO()
        torch.save(content, buffer, **options)
        files.append(buffer.getvalue())
    files += [pickle.dumps(content, protocol) for protocol in range(6)]
    return [*files, safetensors_file()]


def safetensors_file() -> bytes:
    """A safetensors file."""
    header = json.dumps(dict(a=dict(dtype='F32', shape=[2], data_offsets=[0, 8]))).encode()
    return struct.pack('<Q', len(header)) + header + struct.pack('<2f', 1, 2)


def change(data: bytes, rng: random.Random) -> bytes:
    """Change a file: flipped bits, other bytes, parts that are missing, doubled or moved, the end cut off."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        start = rng.randrange(len(data)) if data else 0
        end = min(len(data), start + rng.choice([1, 2, 4, 8, 64]))
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[start] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[start:end] = rng.randbytes(end - start)
        elif kind == 2:
            del data[start:end]
        elif kind == 3:
            data[start:start] = data[start:end]
        elif kind == 4:
            data[start:end] = struct.pack('<Q', rng.choice([0, 2**31, 2**32 - 1, 2**62, 2**64 - 1]))[:end - start]
        else:
            del data[max(start, 1):]
    return bytes(data)


def repack(data: bytes, rng: random.Random) -> bytes:
    """Write an archive anew: a changed record with a right checksum, records compressed, doubled or left out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = [(info.filename, archive.read(info)) for info in archive.infolist()]
    index = rng.randrange(len(records))
    name, content = records[index]
    kind, compression = rng.randrange(5), zipfile.ZIP_STORED
    if kind == 0:
        compression = zipfile.ZIP_DEFLATED
    elif kind == 1:
        records.pop(index)
    elif kind == 2:
        records.append((name, content))
    else:
        pickled = next(k for k, (name, _) in enumerate(records) if name.endswith('data.pkl'))
        index = pickled if kind == 3 else index
        records[index] = records[index][0], change(records[index][1], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', compression) as archive:
        for name, content in records:
            archive.writestr(name, content)
    return buffer.getvalue()


def random_archive(rng: random.Random) -> bytes:
    """Archive of torch.save with a random pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('archive/data.pkl', random_pickle(rng))
        archive.writestr('archive/data/0', rng.randbytes(16))
        archive.writestr('archive/version', b'3\n')
    return buffer.getvalue()


def hostile_files(seed: int) -> Callable[[], bytes]:
    """Return a function that makes one hostile file after the other."""
    rng = random.Random(seed)
    valid = valid_files(rng)

    def make() -> bytes:
        kind = rng.randrange(8)
        if kind < 2:
            return random_pickle(rng)
        if kind == 2:
            return random_archive(rng)
        if kind == 3:
            return repack(valid[0], rng)
        return change(rng.choice(valid), rng)

    return make


def hostile_log_mels(seed: int) -> Callable[[], bytes]:
    """Return a function that makes one changed file of log-mel examples after the other."""
    rng = random.Random(seed)
    examples = [torch.zeros(2, 1, 96, 64), np.zeros((1, 1, 96, 64), np.float32), np.zeros((1, 96, 64), np.float64),
                torch.full((1, 1, 96, 64), torch.nan)]
    valid = [pickle.dumps(x, protocol) for x in examples for protocol in (2, 4)]
    # Most bytes are samples: the change of a short file meets its instructions.
    short = [pickle.dumps(x[:, :0], protocol) for x in examples for protocol in (2, 4)]
    return lambda: change(rng.choice(rng.choice([valid, short])), rng)

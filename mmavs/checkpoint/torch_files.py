"""Read the files that ``torch.save`` writes, of both kinds: zip archives, and chains of pickles before version 1.6."""
from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

import torch

from .pickle_reader import DamagedPickleError, Name, PickleReader
from .storages import MAX_SHARING, Budget, Storage
from .vocabulary import NAMES, StorageType

ZIP_PREFIX = b'PK\x03\x04'
# A pickle of the magic number of the old kind.
LEGACY_PREFIX = b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19'
LOCAL_HEADER = struct.Struct('<4s5H3I2H')
# Flag of a record: its name is in UTF-8.
UTF8_NAME = 0x800
# A tensor in a plain pickle is a file of the old kind in bytes, which holds no other.
MAX_NESTING = 1

MapLocation = str | torch.device | Callable | dict | None


def read_torch_file(file: BinaryIO, map_location: MapLocation = None) -> Any:
    """Read a zip archive of ``torch.save``.

    Args:
        file: The open file.
        map_location: As in :func:`torch.load`; None: the CPU.

    Raises:
        DamagedPickleError, RefusedGlobalError, zipfile.BadZipFile: It is damaged or not of tensors and plain values.
    """
    size = file.seek(0, 2)
    with zipfile.ZipFile(file) as archive:
        records = _check_records(file, archive.infolist(), size)
        unread = set(records)
        pickles = [name for name in records if name.count('/') == 1 and name.endswith('/data.pkl')]
        if len(pickles) != 1:
            raise DamagedPickleError('an archive without data.pkl')
        root = pickles[0].removesuffix('data.pkl')
        if f'{root}constants.pkl' in records:
            raise DamagedPickleError('an archive of TorchScript, a program, not a checkpoint')

        def read(name: str) -> bytearray:
            if root + name not in records:
                raise DamagedPickleError(f'an archive without {name}')
            unread.discard(root + name)
            return _read_record(file, records[root + name])

        if f'{root}byteorder' in records and read('byteorder') != b'little':
            raise DamagedPickleError('numbers of another byte order')
        storages = _Storages(Budget(MAX_SHARING * size), lambda key, _: read(f'data/{key}'), map_location)
        content = PickleReader(bytes(read('data.pkl')), NAMES, storages.load).read()
        for name in unread:
            _read_record(file, records[name])
        return content


def _check_records(file: BinaryIO, records: list[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
    """Raise a DamagedPickleError if records are compressed, overlap, or lie outside of the file."""
    end = 0
    for info in sorted(records, key=lambda info: info.header_offset):
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & 1:
            raise DamagedPickleError(f'the record {info.filename!r} is compressed or encrypted')
        if info.header_offset < end:
            raise DamagedPickleError(f'the record {info.filename!r} overlaps with another')
        end = _find_data(file, info) + info.file_size
    if end > size:
        raise DamagedPickleError('a record lies outside of the file')
    named = {info.filename: info for info in records}
    if len(named) != len(records):
        raise DamagedPickleError('two records have one name')
    return named


def _find_data(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Position of the bytes of a record, after a header of its own, whose fields may have another length."""
    file.seek(info.header_offset)
    header = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    name = info.orig_filename.encode('utf-8' if info.flag_bits & UTF8_NAME else 'cp437')
    if header[0] != ZIP_PREFIX or file.read(header[-2]) != name:
        raise DamagedPickleError(f'the record {info.filename!r} is not where the archive says')
    return info.header_offset + LOCAL_HEADER.size + header[-2] + header[-1]


def _read_record(file: BinaryIO, info: zipfile.ZipInfo) -> bytearray:
    """Read a record and compare its CRC-32."""
    file.seek(_find_data(file, info))
    data = bytearray(info.file_size)
    file.readinto(data)
    if zlib.crc32(data) != info.CRC:
        raise DamagedPickleError(f'the record {info.filename!r} differs from its checksum: the file was changed after '
                                 'it was written')
    return data


def read_legacy_file(data: bytes, map_location: MapLocation = None, nesting: int = 0) -> Any:
    """Read a file that ``torch.save`` wrote before version 1.6: pickles, then the bytes of the storages.

    Args:
        data: The file.
        map_location: As in :func:`torch.load`; None: the CPU.
        nesting: Files that this one is inside of.

    Raises:
        DamagedPickleError, RefusedGlobalError: It is damaged or not of tensors and plain values.
    """
    reserved: dict[str, int] = {}

    def reserve(key: str, num_bytes: int) -> bytearray:
        reserved[key] = num_bytes
        if sum(reserved.values()) > len(data):
            raise DamagedPickleError('its storages are larger than the file')
        return bytearray(num_bytes)

    names, parts, starts = _names(nesting), [], [0]
    budget = Budget(MAX_SHARING * len(data))
    # Magic number, version, system, content and keys. What the content refers to comes after it: it is read twice.
    for names_of_part in ({}, {}, {}, names, {}):
        load = _Storages(budget, reserve).load if names_of_part else None
        reader = PickleReader(data, names_of_part, load, starts[-1])
        parts.append(reader.read())
        starts.append(reader.position)
    _, version, system, _, keys = parts
    if version != 1001 or not isinstance(system, dict) or system.get('little_endian') is not True:
        raise DamagedPickleError('another version, or numbers of another byte order')
    places = _find_storages(data, starts[-1], keys, reserved)
    storages = _Storages(Budget(MAX_SHARING * len(data)), lambda key, _: bytearray(places[key]), map_location)
    return PickleReader(data, names, storages.load, starts[3]).read()


def _find_storages(data: bytes, position: int, keys: Any, num_bytes: dict[str, int]) -> dict[str, memoryview]:
    """Find the bytes of each storage: they follow one another, each after its number of elements."""
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(num_bytes):
        raise DamagedPickleError('storages are missing')
    places, view = {}, memoryview(data)
    for key in map(str, keys):
        count, = struct.unpack_from('<q', data, position)
        start, position = position + 8, position + 8 + num_bytes[key]
        if count < 0 or position > len(data) or num_bytes[key] and (count == 0 or num_bytes[key] % count):
            raise DamagedPickleError(f'the storage {key!r} ends too early or is of another size')
        places[key] = view[start:position]
    return places


def read_plain_pickle(data: bytes) -> Any:
    """Read a pickle of tensors, arrays and plain values.

    Raises:
        DamagedPickleError, RefusedGlobalError: It is damaged, or names something else.
    """
    return PickleReader(data, _names(0)).read()


def _names(nesting: int) -> dict:
    """Names for a file, which may hold files of the old kind in bytes."""

    def load_from_bytes(data: Any) -> Any:
        if nesting >= MAX_NESTING or not isinstance(data, bytes):
            raise DamagedPickleError('files within files')
        return read_legacy_file(data, nesting=nesting + 1)

    return {**NAMES, ('torch.storage', '_load_from_bytes'): Name('torch.storage._load_from_bytes', load_from_bytes)}


class _Storages:
    """Storages of a file by their keys.

    Args:
        budget: Bytes that the tensors of the file may have.
        find: Function that returns the bytes of a storage, from its key and their number.
        map_location: As in :func:`torch.load`; None: the CPU.
    """

    def __init__(self,
                 budget: Budget,
                 find: Callable[[str, int], bytearray],
                 map_location: MapLocation = None) -> None:
        self._budget, self._find, self._map_location = budget, find, map_location
        self._memory: dict[str, tuple[torch.UntypedStorage, int]] = {}

    def load(self, persistent_id: Any) -> Storage:
        """Return the storage of a persistent id: 'storage', its type, key, location, and number of elements."""
        kind, storage_type, key, location, count, *view = persistent_id
        if kind != 'storage' or not isinstance(storage_type, StorageType) or any(x is not None for x in view):
            raise DamagedPickleError('a reference to something else than a storage')
        if not isinstance(key, str) or not isinstance(location, str) or type(count) is not int or count < 0:
            raise DamagedPickleError('a storage without key and size')
        dtype = storage_type.dtype or torch.uint8
        num_bytes = count * dtype.itemsize
        if key not in self._memory:
            memory = self._find(key, num_bytes)
            self._memory[key] = self._place(memory, location), len(memory)
        memory, found = self._memory[key]
        if found != num_bytes:
            raise DamagedPickleError(f'the storage {key!r} has {found} bytes, {num_bytes} are stated')
        return Storage(memory, dtype, self._budget)

    def _place(self, data: bytearray, location: str) -> torch.UntypedStorage:
        """Move the bytes of a storage to its device."""
        memory = torch.frombuffer(data, dtype=torch.uint8).untyped_storage() if data else torch.UntypedStorage(0)
        target = self._map_location
        if isinstance(target, dict):
            target = target.get(location)
        if callable(target):
            placed = target(memory, location)
            return memory if placed is None else getattr(placed, '_untyped_storage', placed)
        device = torch.device(target or 'cpu')
        if device.type == 'meta':
            return torch.UntypedStorage(len(data), device=device)
        return memory if device.type == 'cpu' else memory.to(device=device)

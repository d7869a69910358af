"""Read pickles by an interpreter of their instructions that knows no other names than those it is given.

Python's own unpickler, restricted to a list of classes and functions, still lets a file call these with any arguments,
set attributes of them, allocate 4 GB by a memo index, and hash nested tuples for hours.
"""
from __future__ import annotations

import codecs
import struct
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor

# Integers as keys of a dict: larger ones could be chosen to collide.
MAX_KEY = 2**31
# Lengths and steps of tensors: products of larger ones would take minutes.
MAX_SIZE = 2**63
# Calls copy their arguments, and one of 5 bytes may name a large argument again: all of them together may not be more
# than this many times as large as the pickle.
MAX_COPIES = 32


class DamagedPickleError(ValueError):
    """The instructions or the arguments in a pickle make no sense."""


class RefusedGlobalError(Exception):
    """A pickle asks for a class or function that is not on the list; the message is its name."""


class Name:
    """A class or function that a pickle may name. The pickle gets this object, never the class or function itself.

    Args:
        text: Its name, for messages.
        call: Function that makes an object from the arguments in the pickle, checked; None if it is not called.
    """
    __slots__ = ('text', 'call')

    def __init__(self, text: str, call: Callable[..., Any] | None = None) -> None:
        self.text, self.call = text, call


class Unfinished(ABC):
    """An object that gets its value from the state that follows in the pickle.

    Attributes:
        memo: Memo indices under which it is stored; they get the value.
    """
    __slots__ = ('memo', )

    def __init__(self) -> None:
        self.memo: list[int] = []

    @abstractmethod
    def finish(self, state: Any) -> Any:
        """Make the object from its state; a ValueError or TypeError if the state makes no sense."""


class PickleReader:
    """Interpreter of one pickle.

    Args:
        data: Bytes that hold the pickle.
        names: What it may name: (module, name) -> :class:`Name`.
        load_persistent: Function that makes an object from a persistent id; None if there are none.
        start: Position of the first instruction.

    Attributes:
        position: Position of the next instruction; after :meth:`read`, the end of the pickle.
    """

    def __init__(self,
                 data: bytes,
                 names: Mapping[tuple[str, str], Name],
                 load_persistent: Callable[[Any], Any] | None = None,
                 start: int = 0) -> None:
        self.position = start
        self._data, self._names, self._load_persistent = data, names, load_persistent
        self._stack: list = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._copied = 0

    def read(self) -> Any:
        """Return the object.

        Raises:
            RefusedGlobalError: The pickle names something else than ``names``.
            DamagedPickleError: It is damaged, or holds an instruction that no program writes for plain data.
        """
        try:
            while (code := self._data[self.position]) != _STOP:
                self.position += 1
                instruction = _INSTRUCTIONS.get(code)
                if instruction is None:
                    raise DamagedPickleError(f'unknown instruction {bytes([code])!r}')
                instruction(self)
            self.position += 1
            return self._stack.pop()
        except (DamagedPickleError, RefusedGlobalError):
            raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
                struct.error) as error:
            raise DamagedPickleError(f'byte {self.position}: {type(error).__name__}: {error}') from error

    # ---- Reading ----

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if not self.position <= end <= len(self._data):
            raise DamagedPickleError(f'{count} bytes are stated after byte {self.position} of {len(self._data)}')
        taken = self._data[self.position:end]
        self.position = end
        return bytes(taken)

    def _take_number(self, code: str) -> Any:
        return struct.unpack(code, self._take(struct.calcsize(code)))[0]

    def _take_line(self) -> bytes:
        end = self._data.find(b'\n', self.position)
        if end < 0:
            raise DamagedPickleError('a line has no end')
        line = self._data[self.position:end]
        self.position = end + 1
        return line

    def _pop_mark(self) -> list:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    # ---- Instructions ----

    def _frame(self) -> None:
        if self._take_number('<Q') > len(self._data) - self.position:
            raise DamagedPickleError('a frame is larger than the file')

    def _mark(self) -> None:
        self._marks.append(len(self._stack))

    def _integer_line(self) -> None:
        line = self._take_line()
        self._push({b'00': False, b'01': True}.get(line) if line in (b'00', b'01') else int(line))

    def _string_line(self) -> None:
        line = self._take_line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b'"', b"'"):
            raise DamagedPickleError('a string has no quotes')
        self._push(codecs.escape_decode(line[1:-1])[0].decode('latin1'))

    def _list_append(self) -> None:
        value = self._stack.pop()
        _expect(self._stack[-1], list).append(value)

    def _list_extend(self) -> None:
        items = self._pop_mark()
        _expect(self._stack[-1], list).extend(items)

    def _dict_set(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        _fill(self._stack[-1], [key, value])

    def _dict_update(self) -> None:
        items = self._pop_mark()
        _fill(self._stack[-1], items)

    def _set_update(self) -> None:
        items = self._pop_mark()
        _expect(self._stack[-1], set).update(check_keys(items))

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise DamagedPickleError('the stack is empty')
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _put(self, index: int) -> None:
        if not 0 <= index <= len(self._data):
            raise DamagedPickleError(f'memo index {index} in a file of {len(self._data)} bytes')
        value = self._memo[index] = self._stack[-1]
        if isinstance(value, Unfinished):
            value.memo.append(index)

    def _global(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise DamagedPickleError('a name is not a text')
        try:
            self._push(self._names[module, name])
        except KeyError:
            text = f'{module}.{name}'[:200]
            raise RefusedGlobalError(text if text.isprintable() else ascii(text)) from None

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._global(module, name)

    def _reduce(self) -> None:
        arguments, callee = self._stack.pop(), self._stack.pop()
        if not isinstance(callee, Name):
            raise DamagedPickleError(f'a {type(callee).__name__} is called')
        if callee.call is None:
            raise RefusedGlobalError(f'a call of {callee.text}')
        self._count(_expect(arguments, tuple))
        self._push(callee.call(*arguments))

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Unfinished):
            self._count(state.values() if isinstance(state, dict) else state)
            self._stack[-1] = finished = target.finish(state)
            for index in target.memo:
                if self._memo[index] is target:
                    self._memo[index] = finished
            target.memo.clear()
        elif type(target) is OrderedDict:
            # Of a state dict; nothing else that is set there is read.
            metadata = _expect(state, dict).get('_metadata')
            if type(metadata) is OrderedDict:
                target._metadata = metadata
        else:
            name = target.text if isinstance(target, Name) else type(target).__name__
            raise RefusedGlobalError(f'the state of a {name}')

    def _count(self, arguments: Iterable) -> None:
        """Count the bytes, characters and items that a call may copy."""
        for x in arguments:
            # A tensor is not copied: a parameter has the memory of its tensor, and so has a tensor with a gradient.
            is_large = hasattr(x, '__len__') and not isinstance(x, Tensor)
            self._copied += getattr(x, 'nbytes', 0) or len(x) if is_large else 1
        if self._copied > MAX_COPIES * len(self._data):
            raise DamagedPickleError(f'its calls take more than {MAX_COPIES} times as much as it holds')

    def _persistent(self, value: Any) -> None:
        if self._load_persistent is None:
            raise DamagedPickleError('it refers to a storage outside of it')
        self._push(self._load_persistent(value))


def check_keys(keys: list) -> list:
    """Raise a DamagedPickleError unless these are keys of plain data: texts, bytes, small integers, bool or None."""
    for key in keys:
        if type(key) not in (str, bytes, bool, type(None)) and not (type(key) is int and abs(key) < MAX_KEY):
            raise DamagedPickleError(f'a {type(key).__name__} is a key')
    return keys


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise DamagedPickleError(f'{type(value).__name__} in place of {kind.__name__}')
    return value


def _fill(target: Any, items: list) -> None:
    if type(target) not in (dict, OrderedDict, Counter) or len(items) % 2:
        raise DamagedPickleError(f'a {type(target).__name__} gets {len(items)} keys and values')
    for key, value in zip(check_keys(items[::2]), items[1::2]):
        target[key] = value


def _dict(items: list) -> dict:
    target: dict = {}
    _fill(target, items)
    return target


def _decode(data: bytes) -> str:
    return data.decode('utf-8', 'surrogatepass')


def _signed(data: bytes) -> int:
    return int.from_bytes(data, 'little', signed=True)


def _constant(value: Any) -> Callable[[PickleReader], None]:
    return lambda reader: reader._push(value)


def _sized(code: str, convert: Callable[[bytes], Any]) -> Callable[[PickleReader], None]:
    """Instruction whose argument is preceded by its number of bytes."""
    return lambda reader: reader._push(convert(reader._take(reader._take_number(code))))


def _number(code: str) -> Callable[[PickleReader], None]:
    return lambda reader: reader._push(reader._take_number(code))


_STOP = ord('.')
# Left out on purpose: INST, OBJ and NEWOBJ_EX, extension codes, and buffers outside of the pickle.
_INSTRUCTIONS: dict[int, Callable[[PickleReader], None]] = {
    code[0]: function for code, function in {
        b'\x80': lambda reader: reader._take(1),  # PROTO
        b'\x95': PickleReader._frame,
        b'(': PickleReader._mark,
        b'0': lambda reader: reader._stack.pop(),
        b'1': lambda reader: reader._pop_mark(),
        b'2': lambda reader: reader._push(reader._stack[-1]),
        b'N': _constant(None),
        b'\x88': _constant(True),
        b'\x89': _constant(False),
        b'I': PickleReader._integer_line,
        b'L': lambda reader: reader._push(int(reader._take_line().removesuffix(b'L'))),
        b'J': _number('<i'),
        b'K': _number('<B'),
        b'M': _number('<H'),
        b'\x8a': _sized('<B', _signed),
        b'\x8b': _sized('<i', _signed),
        b'F': lambda reader: reader._push(float(reader._take_line())),
        b'G': _number('>d'),
        b'S': PickleReader._string_line,
        b'U': _sized('<B', lambda data: data.decode('latin1')),
        b'T': _sized('<i', lambda data: data.decode('latin1')),
        b'V': lambda reader: reader._push(reader._take_line().decode('raw-unicode-escape')),
        b'\x8c': _sized('<B', _decode),
        b'X': _sized('<I', _decode),
        b'\x8d': _sized('<Q', _decode),
        b'C': _sized('<B', bytes),
        b'B': _sized('<I', bytes),
        b'\x8e': _sized('<Q', bytes),
        b'\x96': _sized('<Q', bytearray),
        b']': lambda reader: reader._push([]),
        b'a': PickleReader._list_append,
        b'e': PickleReader._list_extend,
        b'l': lambda reader: reader._push(reader._pop_mark()),
        b')': _constant(()),
        b't': lambda reader: reader._push(tuple(reader._pop_mark())),
        b'\x85': lambda reader: reader._tuple(1),
        b'\x86': lambda reader: reader._tuple(2),
        b'\x87': lambda reader: reader._tuple(3),
        b'}': lambda reader: reader._push({}),
        b'd': lambda reader: reader._push(_dict(reader._pop_mark())),
        b's': PickleReader._dict_set,
        b'u': PickleReader._dict_update,
        b'\x8f': lambda reader: reader._push(set()),
        b'\x90': PickleReader._set_update,
        b'\x91': lambda reader: reader._push(frozenset(check_keys(reader._pop_mark()))),
        b'c': lambda reader: reader._global(_decode(reader._take_line()), _decode(reader._take_line())),
        b'\x93': PickleReader._stack_global,
        b'R': PickleReader._reduce,
        b'\x81': PickleReader._reduce,  # NEWOBJ
        b'b': PickleReader._build,
        b'p': lambda reader: reader._put(int(reader._take_line())),
        b'q': lambda reader: reader._put(reader._take_number('<B')),
        b'r': lambda reader: reader._put(reader._take_number('<I')),
        b'\x94': lambda reader: reader._put(len(reader._memo)),  # MEMOIZE
        b'g': lambda reader: reader._push(reader._memo[int(reader._take_line())]),
        b'h': lambda reader: reader._push(reader._memo[reader._take_number('<B')]),
        b'j': lambda reader: reader._push(reader._memo[reader._take_number('<I')]),
        b'P': lambda reader: reader._persistent(_decode(reader._take_line())),
        b'Q': lambda reader: reader._persistent(reader._stack.pop()),
    }.items()
}

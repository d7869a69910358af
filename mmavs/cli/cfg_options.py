"""Values of ``--cfg-options KEY=VALUE``."""
import argparse
from collections.abc import Iterator, Sequence
from typing import Any

LITERALS = {'true': True, 'false': False, 'None': None}
BRACKETS = {'[': ']', '(': ')'}
QUOTES = '\'"'
UNMATCHED = 'brackets or quotes do not match; put a text with commas into quotes'


class ConfigOptions(argparse.Action):
    """Collect ``KEY=VALUE`` arguments in a dict; see :func:`parse_value`."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Sequence[str],
                 option_string: str | None = None) -> None:
        """Add the values to those of earlier options of the same name."""
        options = dict(getattr(namespace, self.dest, None) or {})
        for argument in values:
            key, separator, value = argument.partition('=')
            if not separator or not all(part and part == part.strip() for part in key.split('.')):
                raise argparse.ArgumentError(self, f'{argument!r}, expected KEY=VALUE')
            try:
                options[key] = parse_value(value)
            except ValueError as error:
                raise argparse.ArgumentError(self, f'{argument!r}: {error}') from error
        setattr(namespace, self.dest, options)


def parse_value(text: str) -> Any:
    """Parse a value as MMEngine's ``DictAction`` does, but keep the blanks of a text, for example of a path.

    ``[a,b]`` and ``a,b`` are lists, ``(a,b)`` is a tuple, of numbers, True, False, None, texts, and further lists and
    tuples. A text with commas is put into quotes, which are removed: ``KEY="'/data/a, b'"`` in a shell.

    Raises:
        ValueError: The brackets of a list do not match.
    """
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in QUOTES
    text = text[1:-1] if quoted else text
    group = text.strip()
    if group[:1] in BRACKETS and group.endswith(BRACKETS[group[0]]) and not _commas(group):
        items = [parse_value(item) for item in _split(group[1:-1])]
        return tuple(items) if group[0] == '(' else items
    if not quoted and ',' in text and _commas(text):
        return [parse_value(item) for item in _split(text)]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            pass
    return LITERALS.get(group if group == 'None' else group.lower(), text)


def _split(text: str) -> Iterator[str]:
    """Items between the commas that are outside of brackets and quotes; there is none after a final comma."""
    begin = 0
    for comma in _commas(text):
        yield text[begin:comma].strip()
        begin = comma + 1
    if text[begin:].strip():
        yield text[begin:].strip()


def _commas(text: str) -> list[int]:
    """Positions of the commas outside of brackets and quotes."""
    positions, closing, quote, before = [], [], '', ''
    for position, character in enumerate(text):
        if quote:
            quote = '' if character == quote else quote
        elif character in QUOTES and before in ('', ',', *BRACKETS):  # elsewhere an apostrophe
            quote = character
        elif character in BRACKETS:
            closing.append(BRACKETS[character])
        elif character in BRACKETS.values() and (not closing or closing.pop() != character):
            raise ValueError(UNMATCHED)
        elif character == ',' and not closing:
            positions.append(position)
        before = before if character == ' ' else character
    if closing or quote:
        raise ValueError(UNMATCHED)
    return positions

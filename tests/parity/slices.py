"""Steps of the parts of arrays that a case stores, such as ``pred_masks[[first,last], ::10, ::2, ::2]``."""
import re

STEPS = r'(?:::\d+|:)(?:, ?(?:::\d+|:))*'


def steps(readme: str, name: str, default: str) -> tuple[slice, ...]:
    """Slices of the last axes of an array.

    Args:
        readme: Text of the README, in which the first brackets with steps after the name count, in the same sentence.
        name: How the description of the array begins.
        default: Steps, ``'::10, ::2, ::2'``, if the README does not say any, or says another number of them.
    """
    for begin in re.finditer(rf'(?<![\w.]){re.escape(name)}(?![\w.])', readme):
        sentence = re.split(r';|\n', readme[begin.end():], maxsplit=1)[0]
        for found in re.findall(rf'[\[ ,(]({STEPS})[\])]', sentence):
            if '::' in found and found.count(',') == default.count(','):
                return _slices(found)
    return _slices(default)


def _slices(text: str) -> tuple[slice, ...]:
    return tuple(slice(None, None, int(x[2:]) if x.startswith('::') else None) for x in re.split(', ?', text))

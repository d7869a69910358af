"""Label maps of a case, from the sentence of its README that begins with ``Losses``.

The sentence names the seeded frames whose first channel is compared with thresholds, and the supervised frames.
As in :mod:`parity.targets`, case.json goes first, and what is not understood is an error.
"""
import re

import torch

from .targets import UnknownTargetsError, runs, stated_labels

SOURCE = r'seeded\.frames\((?P<seed>\d+),[^)]*?cell=(?P<cell>\d+)\)\[:, ?0\]'
RULE = r'(?P<label>\d+) where (?:m > (?P<above>\d+)|(?P<low>\d+) < m <= (?P<high>\d+))'


def read_label_maps(readme: str, seeded, num_frames: int, size: tuple[int, int]) -> torch.Tensor:
    """Labels of all pixels, (N, H, W) uint8."""
    text = _losses(readme)
    source = re.search(SOURCE, text)
    if source is None:
        raise UnknownTargetsError(text)
    values = seeded.frames(int(source['seed']), num_frames, *size, cell=int(source['cell']))[:, 0]
    text = re.sub(SOURCE, 'm', text)
    if modulus := re.search(r'm % (\d+)', text):
        return values % int(modulus[1])
    rules, default = list(re.finditer(RULE, text)), re.search(r'else (\d+)', text)
    if not rules or default is None or len(rules) != len(re.findall(r'\bwhere\b', text)):
        raise UnknownTargetsError(text)
    labels = torch.full_like(values, int(default[1]))
    for rule in rules:
        low, high = (int(rule[key]) if rule[key] else None for key in ('low', 'high'))
        chosen = values > int(rule['above']) if rule['above'] else (values > low) & (values <= high)
        labels[chosen] = int(rule['label'])
    return labels


def supervised_frames(case: dict, readme: str, num_frames: int) -> list[bool]:
    """Flags of the frames of all clips that are supervised."""
    labels = stated_labels(case)
    if labels is not None:
        return [frame in labels for frame in range(num_frames)]
    text, length = _losses(readme), num_frames // case['clips']
    if match := re.search(r'supervised flag (?P<runs>(?:[01]x\d+,? ?)+)', text):
        return (case['clips'] * runs(match['runs']))[:num_frames]
    if re.search(r'only the first frame (of (each|every) clip )?(is )?supervised', text):
        return [frame % length == 0 for frame in range(num_frames)]
    if re.search(r'(all|every|each|all \d+) frames? (is |are )?supervised', text):
        return [True] * num_frames
    if match := re.search(r'(?:only )?frames? ((?:\d+(?:, | and |, and )?)+) (?:is |are )?supervised', text):
        chosen = set(map(int, re.findall(r'\d+', match[1])))
        return [frame in chosen for frame in range(num_frames)]
    raise UnknownTargetsError(text)


def _losses(readme: str) -> str:
    match = re.search(r'Losses\b.*?(?=torch\.rand|\Z)', readme, re.S)
    if match is None:
        raise UnknownTargetsError(readme)
    return match[0]

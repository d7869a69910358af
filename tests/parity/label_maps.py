"""Ground truth of COMBO's and EASE's cases: label maps, and the frames that are supervised or empty.

case.json goes first: ``frame_labels`` names the supervised frames and their classes, ``empty_frames`` those without an
object. What it does not state is read from the sentence of the README that begins with ``Losses``, which names the
seeded frames whose first channel is compared with thresholds. What is not understood is an error, as in
:mod:`parity.targets`.
"""
import re

import torch

from .targets import FRAMES, UnknownTargetsError, frame_numbers, runs, stated_labels

SOURCE = r'seeded\.frames\((?P<seed>\d+),[^)]*?(?:cell=(?P<cell>\d+))?\)\[:, ?0\]'
RULE = r'(?P<label>\d+) where (?:m > (?P<above>\d+)|(?P<low>\d+) < m <= (?P<high>\d+))'
# Cells of seeded.frames, if none are named.
CELL = 16


def read_ground_truth(case: dict, readme: str, seeded, num_frames: int,
                      size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of all pixels (N, H, W) uint8 of the frames of all clips, and which frames are supervised (N,) bool."""
    labels = read_label_maps(readme, seeded, num_frames, size)
    stated = stated_labels(case)
    labels[empty_frames(case, readme)] = 0
    for frame, classes in (stated or {}).items():
        found = {*labels[frame].unique().tolist()}
        assert found - {0} == {*classes} - {0}, (
            f'case.json: frame_labels says that frame {frame} holds the classes {classes}, the README describes '
            f'{sorted(found)}')
    return labels, torch.tensor(supervised_frames(case, readme, num_frames))


def read_label_maps(readme: str, seeded, num_frames: int, size: tuple[int, int]) -> torch.Tensor:
    """Labels of all pixels, (N, H, W) uint8, before frames are made empty."""
    text = _losses(readme)
    source = re.search(SOURCE, text)
    if source is None:
        raise UnknownTargetsError(text)
    values = seeded.frames(int(source['seed']), num_frames, *size, cell=int(source['cell'] or CELL))[:, 0]
    text = re.sub(SOURCE, 'm', text)
    if modulus := re.search(r'm % (\d+)', text):
        return values % int(modulus[1])
    rules, default = list(re.finditer(RULE, text)), re.search(r'else (\d+)', text)
    if not rules and 'where' not in text and (mask := re.search(r'm > (\d+)', text)):
        return (values > int(mask[1])).to(torch.uint8)
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
    if re.search(r'only (the first frame|frame 0) (of (each|every|the) clip )?(is )?supervised', text):
        return [frame % length == 0 for frame in range(num_frames)]
    if re.search(r'(all|every|each|all \d+) frames? (is |are )?supervised', text):
        return [True] * num_frames
    if match := re.search(rf'(?:only )?{FRAMES} (?:is |are )?supervised', text):
        chosen = frame_numbers(match['frames'])
        return [frame in chosen for frame in range(num_frames)]
    raise UnknownTargetsError(text)


def empty_frames(case: dict, readme: str) -> list[int]:
    """Frames whose ground truth is empty, of all clips."""
    empty = [int(frame) for frame in case.get('empty_frames', ())]
    labels = stated_labels(case)
    if labels is not None:
        return sorted({*empty, *(frame for frame, classes in labels.items() if not any(classes))})
    for match in re.finditer(rf'{FRAMES}(?: are| is)? (?:empty|= 0)', _losses(readme)):
        empty += frame_numbers(match['frames'])
    return sorted({*empty})


def _losses(readme: str) -> str:
    match = re.search(r'Losses\b.*?(?=torch\.rand|\Z)', readme, re.S)
    if match is None:
        raise UnknownTargetsError(readme)
    return match[0]

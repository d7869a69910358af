"""Ground truth of a case: ``frame_labels`` and ``empty_frames`` of case.json, else the sentences of its README.

A sentence about targets that is not understood is an error: a case whose ground truth is misread would fail a right
model.
"""
import re

#: Keys of case.json that state targets.
KEYS = {'frame_labels', 'empty_frames'}
NUMBER_WORDS = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten')
LABELS = r'\[(?P<labels>\d+(?:,\s?\d+)*)?\]'
FRAMES = r'frames? (?P<frames>\d+(?:(?:, | and |, and )\d+|\.\.\d+)*)'


class UnknownTargetsError(AssertionError):
    """A README describes targets in words that this module does not know."""

    def __init__(self, statement: str) -> None:
        super().__init__(f'the README says {statement.strip()!r} about the targets, which is not understood: state it '
                         'as frame_labels and empty_frames in case.json')


def stated_labels(case: dict) -> dict[int, list[int]] | None:
    """{supervised frame: classes} of case.json, None if it does not state them; an empty frame has no class."""
    if 'frame_labels' not in case:
        return None
    labels = {int(frame): [int(c) for c in classes] for frame, classes in case['frame_labels'].items()}
    for frame in case.get('empty_frames', ()):
        assert not any(labels.setdefault(int(frame), [])), (
            f'case.json: frame {frame} is one of empty_frames, but frame_labels says {labels[int(frame)]}')
    return dict(sorted(labels.items()))


# ---- Matching and losses: classes of each supervised frame ----


def frame_labels(case: dict, readme: str, num_frames: int) -> dict[int, list[int]]:
    """{supervised frame: classes that it holds}, for two clips of equal length."""
    labels = stated_labels(case)
    if labels is not None:
        return labels
    text = _between(readme, r'Targets:[^\n]*?mask\.', r'torch\.rand ')
    text = re.sub(r'clip categories \d+ and \d+ \(1-based\)', '', text)
    reader = _labels_of_clips if 'clip B' in text else _labels_of_frames
    labels = reader(text, num_frames)
    for frame in case.get('empty_frames', ()):
        labels[int(frame)] = []
    return dict(sorted(labels.items()))


def _labels_of_clips(text: str, num_frames: int) -> dict[int, list[int]]:
    """``Clip A (...): only frame 0 supervised, labels [0,5]; clip B: its 5 frames ..., the last with [0]``."""
    first, second = re.split(r';?\s*clip B', text)
    length = num_frames // 2
    match, first = _take(rf'only {FRAMES} supervised, labels {LABELS}', first)
    labels = dict.fromkeys(frame_numbers(match['frames']), _classes(match))
    _must_be_known(re.sub(r'Clip A \(\w+\):', '', first))
    match, second = _take(rf'(?P<count>\w+) with labels {LABELS}', second)
    count = NUMBER_WORDS.index(match['count']) if match['count'] in NUMBER_WORDS else int(match['count'])
    classes = _classes(match)
    match, second = _take(rf'the last with {LABELS}', second)
    labels.update(dict.fromkeys(range(length, length + count), classes))
    labels[2 * length - 1] = _classes(match)
    assert len(labels) == 1 + length, f'{count} frames and the last are not the {length} of a clip'
    _must_be_known(re.sub(r'\(\w+\)|its \d+ frames supervised', '', second))
    return labels


def _labels_of_frames(text: str, num_frames: int) -> dict[int, list[int]]:
    """``Supervised frames 0 and 5, labels [0,1] each``, or all frames, with exceptions that name frames."""
    match = re.search(rf'Supervised {FRAMES}', text, re.I)
    supervised = frame_numbers(match['frames']) if match else list(range(num_frames))
    if not match and not re.search(r'(all|every|each|its \d+) frames?\b|frames supervised', text, re.I):
        raise UnknownTargetsError(text)
    text = re.sub(rf'Supervised {FRAMES}', '', text, flags=re.I)
    match, text = _take(rf'labels? {LABELS}(?: each)?', text)
    labels = dict.fromkeys(supervised, _classes(match))
    while match := re.search(rf'only {LABELS} where frame index % (?P<step>\d+) == (?P<rest>\d+)', text):
        chosen = [frame for frame in supervised if frame % int(match['step']) == int(match['rest'])]
        labels.update(dict.fromkeys(chosen, _classes(match)))
        text = _without(match, text)
    while match := re.search(rf'{FRAMES}(?: are| is)? empty', text):
        labels.update(dict.fromkeys(frame_numbers(match['frames']), []))
        text = _without(match, text)
    while match := re.search(rf'(?:{FRAMES}|the last) with (?:only )?{LABELS}', text):
        chosen = frame_numbers(match['frames']) if match['frames'] else [num_frames - 1]
        labels.update(dict.fromkeys(chosen, _classes(match)))
        text = _without(match, text)
    _must_be_known(re.sub(r'(all|every|each|its \d+|both clips\W+all)? ?frames?( are| is)? supervised|'
                          r'(in |of )?(all|every|each) (\d+ )?frames?', '', text, flags=re.I))
    return labels


# ---- Model outputs and gradients: flags of each frame ----


def supervision(case: dict, readme: str, num_clips: int, num_frames: int) -> tuple[list[bool], list[int]]:
    """Supervised flag of each of the frames of all clips, and the frames whose ground truth is empty.

    Args:
        case: Content of case.json.
        readme: Text of the README.
        num_clips: Clips B.
        num_frames: Frames of all clips.
    """
    length = num_frames // num_clips
    labels = stated_labels(case)
    if labels is not None:
        empty = [frame for frame, classes in labels.items() if not any(classes)]
        return [frame in labels for frame in range(num_frames)], empty
    text = _between(readme, r'Ground truth:', r'\n')
    text = re.sub(r'(mask|class) = seeded\.frames\([^)]*\)\[:,0\] (> \d+|% \d+)', '', text)
    if 'supervised flag' in text:
        match, text = _take(r'supervised flag (?P<runs>(?:[01]x\d+,? ?)+)', text)
        supervised = num_clips * runs(match['runs'])
    elif 'only the first frame of each clip supervised' in text:
        text = text.replace('only the first frame of each clip supervised', '')
        supervised = num_clips * [True, *[False] * (length - 1)]
    elif match := re.search(r'(all|every) frames? (is |are )?supervised', text):
        text, supervised = _without(match, text), [True] * num_frames
    else:
        raise UnknownTargetsError(text)
    empty = [int(frame) for frame in case.get('empty_frames', ())]
    while match := re.search(rf'{FRAMES}(?: are| is)? (?:= 0|empty)', text):
        empty += frame_numbers(match['frames'])
        text = _without(match, text)
    _must_be_known(text)
    return supervised, sorted(set(empty))


def runs(text: str) -> list[bool]:
    """Flags of run lengths: ``1x5, 0x2`` is five times True and two times False."""
    return [value == '1' for value, length in re.findall(r'([01])x(\d+)', text) for _ in range(int(length))]


# ---- Sentences ----


def _between(text: str, begin: str, end: str) -> str:
    match = re.search(rf'{begin}(.*?)(?:{end}|\Z)', text, re.S)
    if match is None:
        raise UnknownTargetsError(text)
    return match[1]


def _take(pattern: str, text: str) -> tuple[re.Match, str]:
    match = re.search(pattern, text)
    if match is None:
        raise UnknownTargetsError(text)
    return match, _without(match, text)


def _without(match: re.Match, text: str) -> str:
    return text[:match.start()] + text[match.end():]


def frame_numbers(text: str) -> list[int]:
    """Numbers of a list such as ``0, 3 and 5..7``."""
    text = re.sub(r'(\d+)\.\.(\d+)', lambda m: ','.join(map(str, range(int(m[1]), int(m[2]) + 1))), text)
    return [int(number) for number in re.findall(r'\d+', text)]


def _classes(match: re.Match) -> list[int]:
    return frame_numbers(match['labels'] or '')


def _must_be_known(rest: str) -> None:
    """What is left of the sentences about targets must be punctuation and single connecting words."""
    rest = re.sub(r'\b(and|with|both|clips?|in|of|the|each|labels?)\b', '', rest)
    if re.search(r'\w', rest):
        raise UnknownTargetsError(rest)

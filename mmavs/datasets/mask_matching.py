"""Match the clips and frames of predictions with those of the ground truth."""
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from .mask_files import MaskFiles

# Names that a message lists.
MAX_NAMED = 5


@dataclass
class MaskMatch:
    """Masks that ground truth and predictions have in common.

    Attributes:
        frames: Clip of the ground truth -> its clip of the predictions, and the frame numbers of both, in pairs.
        missing_clips: Clips of the ground truth without a prediction.
        missing_frames: Frames of the matched clips without a prediction.
        surplus_clips: Clips that are predicted only.
        surplus_frames: Frames of the matched clips that are predicted only.
    """
    frames: dict[str, tuple[str, list[int], list[int]]] = field(default_factory=dict)
    missing_clips: list[str] = field(default_factory=list)
    missing_frames: int = 0
    surplus_clips: list[str] = field(default_factory=list)
    surplus_frames: int = 0


def match_masks(truth: MaskFiles, predicted: MaskFiles, clip_length: int | None = None,
                allow_missing: bool = False) -> MaskMatch:
    """Match clips by their names and frames by their numbers.

    Names are compared from their end, since the directories above a clip differ between repositories: ``dog/CLIP`` of
    the ground truth is ``CLIP`` or ``masks/dog/CLIP`` of the predictions. Numbers are compared as they are; if these
    differ, from the first number of each side (1 to 5 are 0 to 4); if one side is an ``.npz`` file and the counts
    agree, by their order.

    Args:
        truth: The ground truth.
        predicted: The predictions.
        clip_length: Predicted frames behind the last one of the ground truth, up to this length, are padding and left
            out.
        allow_missing: Match what both have. Otherwise all masks must have a partner.

    Raises:
        ValueError: No clip matches; or clips or frames have no partner, and that is not allowed. The message counts
            them and names the first.
    """
    names = match_names(truth.clips, predicted.clips)
    match = MaskMatch(
        missing_clips=[clip for clip in truth.clips if clip not in names],
        surplus_clips=sorted(set(predicted.clips) - set(names.values())))
    if not names or not allow_missing and (match.missing_clips or match.surplus_clips):
        raise ValueError(_clips_differ(truth, predicted, match, len(names)))
    pairs = [(clip, other, truth.clips[clip], predicted.clips[other]) for clip, other in names.items()]
    number_truth, number_predicted = _numberings(truth, predicted, pairs, clip_length)
    wrong = []
    for clip, other, wanted, found in pairs:
        by_index = dict(zip(number_predicted(found), found))
        indices = dict(zip(number_truth(wanted), wanted))
        common = sorted(indices.keys() & by_index.keys())
        surplus = _surplus(truth, clip, indices, by_index, clip_length)
        if len(common) < len(wanted) or surplus:
            wrong.append((clip, wanted, other, found))
        match.missing_frames += len(wanted) - len(common)
        match.surplus_frames += len(surplus)
        match.frames[clip] = other, [indices[i] for i in common], [by_index[i] for i in common]
    if wrong and not allow_missing:
        raise ValueError(_frames_differ(truth, predicted, wrong, len(names)))
    if not any(numbers for _, numbers, _ in match.frames.values()):
        raise ValueError(_frames_differ(truth, predicted, wrong, len(names)))
    return match


def match_names(truth: Collection[str], predicted: Collection[str]) -> dict[str, str]:
    """Match two lists of clip names by as many of their last parts as identify most clips.

    Returns:
        Name of the ground truth -> name of the predictions, in the order of the ground truth.
    """
    best: dict[str, str] = {}
    deepest = max((name.count('/') + 1 for name in [*truth, *predicted]), default=0)
    for depth in range(deepest, 0, -1):
        ends, others = (_by_end(names, depth) for names in (truth, predicted))
        if len(ends) == len(truth) and len(others) == len(predicted):
            matched = {name: others[end] for end, name in ends.items() if end in others}
            if len(matched) > len(best):
                best = matched
    return best


def _by_end(names: Iterable[str], depth: int) -> dict[tuple[str, ...], str]:
    return {tuple(name.split('/')[-depth:]): name for name in names}


# Frame numbers of a clip -> the indices by which they are compared.
Numbering = Callable[[Sequence[int]], Iterable[int]]


def _numberings(truth: MaskFiles, predicted: MaskFiles, pairs: list[tuple],
                clip_length: int | None) -> tuple[Numbering, Numbering]:
    """Choose how the frames of both sides are numbered."""
    stored = (tuple, tuple)
    shifted = _from_first(numbers for _, _, numbers, _ in pairs), _from_first(numbers for *_, numbers in pairs)
    ordered = (lambda numbers: range(len(numbers)), ) * 2
    candidates = [stored, shifted] + [ordered] * (not (truth.numbered and predicted.numbered))
    for candidate in candidates:
        if all(_fits(truth, candidate, *pair, clip_length) for pair in pairs):
            return candidate
    # Something is missing: numbers that are part of the other side's are the same numbers.
    parts = [set(wanted) <= set(found) or set(found) <= set(wanted) for _, _, wanted, found in pairs]
    return stored if all(parts) else shifted


def _from_first(clips: Iterable[Sequence[int]]) -> Numbering:
    first = min((min(numbers) for numbers in clips if len(numbers)), default=0)
    return lambda numbers: [number - first for number in numbers]


def _fits(truth: MaskFiles, numbering: tuple[Numbering, Numbering], clip: str, other: str, wanted: Sequence[int],
          found: Sequence[int], clip_length: int | None) -> bool:
    indices, others = set(numbering[0](wanted)), set(numbering[1](found))
    return indices <= others and not _surplus(truth, clip, indices, others, clip_length)


def _surplus(truth: MaskFiles, clip: str, indices: Collection[int], found: Collection[int],
             clip_length: int | None) -> list[int]:
    """Predicted frames that are neither in the ground truth nor frames without ground truth or padding."""
    length = max(truth.length(clip) or 0, clip_length or 0)
    return [index for index in found if index not in indices and not
            (index < length and (truth.length(clip) is not None or index > max(indices, default=-1)))]


def _clips_differ(truth: MaskFiles, predicted: MaskFiles, match: MaskMatch, matched: int) -> str:
    found = [f'{matched} of the {len(truth.clips)} clips of {truth.path} have masks in {predicted.path}']
    if match.missing_clips:
        found.append(f'without: {_listed(match.missing_clips)}')
    if match.surplus_clips:
        found.append(f'only predicted: {_listed(match.surplus_clips)}')
    advice = 'name the clips alike'
    if matched:
        advice += ', or score what both have with --allow-missing'
    return f"{'; '.join(found)}; {advice}"


def _frames_differ(truth: MaskFiles, predicted: MaskFiles, wrong: list[tuple], matched: int) -> str:
    clip, wanted, other, found = wrong[0]
    return (f'{predicted.path}: the frames of {len(wrong)} of {matched} clips differ from those of {truth.path}; '
            f'first: {other!r} has {_numbers(found)}, the ground truth {clip!r} {_numbers(wanted)}; name the frames '
            'alike, or score what both have with --allow-missing')


def _numbers(numbers: Sequence[int]) -> str:
    more = ', ...' if len(numbers) > 2 * MAX_NAMED else ''
    return f"{len(numbers)} frame(s) ({', '.join(map(str, numbers[:2 * MAX_NAMED]))}{more})"


def _listed(clips: Sequence[str]) -> str:
    more = f' and {len(clips) - MAX_NAMED} more' if len(clips) > MAX_NAMED else ''
    return ', '.join(map(repr, clips[:MAX_NAMED])) + more

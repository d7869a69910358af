"""Figure that compares methods on clips: frames are columns, methods are rows, as in the papers."""
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mmavs.structures import UNLABELLED

from .avs_visualizer import AVSVisualizer
from .canvas import Legend
from .frame_grid import Block, FrameRow, draw_frame_grid

# Frames in a line of the figure: clips that have room stand side by side.
MAX_COLUMNS = 10


@dataclass
class FeatureMap:
    """A map inside of a model, for each of the T frames of a clip.

    Attributes:
        label: Its name.
        values: (T, h, w) in [0, 1].
        colormap: Colormap of Matplotlib.
        captions: T short texts; empty for none.
    """
    label: str
    values: np.ndarray
    colormap: str = 'viridis'
    captions: Sequence[str] = ()


@dataclass
class MethodResult:
    """Results of a method on a clip.

    Attributes:
        name: Name of the method.
        masks: (T, h, w) uint8, predicted classes.
        dataset_meta: Class names and palette of the method's dataset.
        maps: Maps inside of the model.
    """
    name: str
    masks: np.ndarray
    dataset_meta: dict
    maps: list[FeatureMap] = field(default_factory=list)


@dataclass
class ComparedClip:
    """A clip, and the results of the methods.

    Attributes:
        clip_id: Id of the clip.
        frames: (T, H, W, 3) uint8, RGB.
        results: One for each method, in the same order for all clips.
        dataset_meta: Class names and palette of the ground truth.
        gt: (T, h, w) uint8, 255 = unlabelled; None without ground truth.
        log_mel: (bands, columns) energies that span the T frames; None without audio.
        seconds_per_frame: Time between two frames.
    """
    clip_id: str
    frames: np.ndarray
    results: list[MethodResult]
    dataset_meta: dict
    gt: np.ndarray | None = None
    log_mel: np.ndarray | None = None
    seconds_per_frame: float = 1.0


def draw_comparison(clips: Sequence[ComparedClip], frames: Sequence[int] | None = None) -> Figure:
    """Draw frames and audio, the ground truth, and a row for each method, with the IoU of each frame.

    Below the prediction of a method come its maps. Clips stand side by side while a line has room.

    Args:
        clips: The clips, with results of the same methods.
        frames: Indices of the frames to show, with the audio of all seconds in between left out; None shows all.

    Returns:
        The figure; ``figure.savefig(path)`` writes PNG, PDF or SVG.

    Raises:
        ValueError: There are no clips, or a clip does not have one of the frames.
    """
    if not clips:
        raise ValueError('there are no clips to draw')
    with_gt = any(clip.gt is not None for clip in clips)
    blocks = [block for clip in clips for block in _blocks(clip, frames, with_gt)]
    lines = _arrange(blocks)
    columns = max(sum(block.num_frames for block in line) for line in lines)
    return draw_frame_grid('', lines, _legend(clips), min(1.6, max(0.9, 8 / columns))).figure


def _blocks(clip: ComparedClip, frames: Sequence[int] | None, with_gt: bool) -> list[Block]:
    num_frames = len(clip.frames)
    indices = list(range(num_frames)) if frames is None else list(frames)
    for index in indices:
        if not 0 <= index < num_frames:
            raise ValueError(f'clip {clip.clip_id!r} has {num_frames} frames, there is no frame {index} '
                             '(they count from 0)')
    gt = clip.gt
    if gt is None and with_gt:
        gt = np.full(clip.frames.shape[:3], UNLABELLED, np.uint8)
    rows = [FrameRow('frame', clip.frames[indices])]
    if gt is not None:
        rows.append(_visualizer(clip.dataset_meta).mask_row('ground truth', clip.frames[indices], gt[indices]))
    for result in clip.results:
        rows.append(
            _visualizer(result.dataset_meta).mask_row(
                result.name, clip.frames[indices], result.masks[indices], None if gt is None else gt[indices]))
        for feature_map in result.maps:
            captions = [feature_map.captions[i] for i in indices] if len(feature_map.captions) else ()
            images = _colored(feature_map.values[indices], feature_map.colormap, clip.frames.shape[1:3])
            rows.append(FrameRow(f'{result.name}: {feature_map.label}', images, captions))
    log_mel, times = clip.log_mel, np.arange(num_frames + 1) * clip.seconds_per_frame
    if log_mel is not None:
        edges = np.round(np.linspace(0, log_mel.shape[1], num_frames + 1)).astype(int)
        log_mel = np.concatenate([log_mel[:, edges[i]:edges[i + 1]] for i in indices], axis=1)
    if indices != list(range(num_frames)):
        # The time axis has gaps: each frame gets the label of its own begin.
        starts = [f'{time:g} s' for time in np.round(times[indices], 2)]
        block = Block(rows, np.arange(len(indices) + 1.), log_mel, 1, clip.clip_id, [*starts, ''])
    else:
        block = Block(rows, times, log_mel, 1, clip.clip_id)
    return block.split(MAX_COLUMNS)


def _arrange(blocks: Sequence[Block]) -> list[list[Block]]:
    """Put the blocks of different clips side by side while they have room."""
    lines: list[list[Block]] = []
    for block in blocks:
        if lines and block.title and sum(b.num_frames for b in lines[-1]) + block.num_frames <= MAX_COLUMNS:
            lines[-1].append(block)
        else:
            lines.append([block])
    return lines


def _visualizer(dataset_meta: dict) -> AVSVisualizer:
    visualizer = AVSVisualizer()
    visualizer.dataset_meta = dataset_meta
    return visualizer


def _legend(clips: Sequence[ComparedClip]) -> Legend:
    entries = [entry for clip in clips for meta, masks in [
        (clip.dataset_meta, clip.gt), *((result.dataset_meta, result.masks) for result in clip.results)
    ] for entry in _visualizer(meta).legend(masks)]
    # Methods of the same dataset have the same colors.
    return list(dict.fromkeys((name, tuple(color)) for name, color in entries))


def _colored(values: np.ndarray, colormap: str, size: tuple[int, int]) -> np.ndarray:
    """Resize maps (T, h, w) in [0, 1] to (H, W), bilinearly, and color them: (T, H, W, 3) uint8."""
    resized = np.stack([cv2.resize(value.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)
                        for value in values])
    return matplotlib.colormaps[colormap](resized.clip(0, 1), bytes=True)[..., :3]

"""Convert decoded frames to 8-bit RGB."""
from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

from .hdr import frame_peak, tone_map

# Matrices of YUV by FFmpeg's AVColorSpace, as they are named in PyAV.
MATRICES = {1: 'ITU709', 4: 'FCC', 5: 'ITU601', 6: 'ITU601', 7: 'SMPTE240M', 9: 'BT2020', 10: 'BT2020'}
# Without a tag, players take BT.709 from this size on, as cameras do, and BT.601 below.
HD_WIDTH, HD_HEIGHT = 1280, 720
HDR_TRANSFERS = {int(ColorTrc.SMPTE2084): 'pq', int(ColorTrc.ARIB_STD_B67): 'hlg'}


def to_rgb(frame: av.VideoFrame, size: tuple[int, int]) -> np.ndarray:
    """Convert a frame to RGB for an SDR display.

    The matrix (BT.601, BT.709, BT.2020) and the range (limited, full) are those of the file. If it does not state the
    matrix, it is BT.709 for frames of 1280x720 and more and BT.601 for smaller ones; the range is limited. HDR (PQ and
    HLG) is tone-mapped, see :func:`mmavs.video.hdr.tone_map`. Transparent pixels are laid over black.

    Args:
        frame: The frame.
        size: (H, W) of the result.

    Returns:
        (H, W, 3) uint8.
    """
    transfer = HDR_TRANSFERS.get(int(frame.color_trc))
    alpha = any(component.is_alpha for component in frame.format.components)
    if not (transfer or alpha):
        return _reformat(frame, 'rgb24', size)
    shape = frame.height, frame.width
    if transfer:
        image = tone_map(_reformat(frame, 'rgb48le', shape), transfer, frame_peak(frame))
    else:
        image = _reformat(frame, 'rgba', shape)[..., :3]
    if alpha:
        opacity = _reformat(frame, 'rgba', shape)[..., 3:].astype(np.uint16)
        image = ((image * opacity + 127) // 255).astype(np.uint8)
    if shape == size:
        return image
    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format='rgb24')
    return image.reformat(width=size[1], height=size[0], threads=1).to_ndarray()


def _reformat(frame: av.VideoFrame, pixel_format: str, size: tuple[int, int]) -> np.ndarray:
    colors = {}
    if not frame.format.is_rgb:
        colors['src_colorspace'] = MATRICES.get(int(frame.colorspace)) or _default_matrix(frame)
        if frame.color_range in (ColorRange.MPEG, ColorRange.JPEG):
            colors['src_color_range'] = ColorRange(frame.color_range)
    # With several threads, FFmpeg writes beyond the rows of one part into those of the next, a few pixels at random.
    return frame.reformat(width=size[1], height=size[0], format=pixel_format, threads=1, **colors).to_ndarray()


def _default_matrix(frame: av.VideoFrame) -> str:
    if frame.color_primaries == ColorPrimaries.BT2020:
        return 'BT2020'
    return 'ITU709' if frame.width >= HD_WIDTH or frame.height >= HD_HEIGHT else 'ITU601'

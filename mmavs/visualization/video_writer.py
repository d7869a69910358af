"""Write videos frame by frame, with audio."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Real
from pathlib import Path

import av
import numpy as np
from torch import Tensor

from mmavs.utils.files import atomic_write

from .video_audio import AudioFormat, copy_audio_track, encode_waveform
from .waveform import check_rate, to_mono

# Players know the rates of film and television (30000 / 1001) and their multiples, not arbitrary fractions.
MAX_DENOMINATOR = 1001
# Players seek to keyframes; x264 and VP9 would make one every 250 or 128 frames, minutes at a frame per second.
SECONDS_PER_KEYFRAME = 5
# Number of ITU-R BT.709 in the tags of color space, primaries and transfer, and of the limited range.
BT709, LIMITED = 1, 1
# Frames as they are passed in, by their number of channels.
FRAME_FORMATS = {1: 'gray', 3: 'rgb24', 4: 'rgba'}


@dataclass(frozen=True)
class VideoFormat:
    """Container and codecs of a video.

    Attributes:
        container: FFmpeg's name of the container.
        codec: FFmpeg's name of the video encoder.
        pix_fmt: Pixel format that is stored.
        audio: The audio.
        channels: Channels of the frames that are passed in: 1 gray, 3 RGB, 4 RGB and alpha.
        options: Options of the encoder.
        container_options: Options of the container.
        even: Whether height and width must be even.
    """
    container: str
    codec: str
    pix_fmt: str
    audio: AudioFormat
    channels: int = 3
    options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    even: bool = False


_MP4_AUDIO = AudioFormat('aac', ('aac', 'alac', 'mp3', 'ac3', 'eac3', 'opus', 'flac'))
#: H.264 in MP4, which browsers and players show.
H264 = VideoFormat('mp4', 'libx264', 'yuv420p', _MP4_AUDIO, 3, {'crf': '20', 'preset': 'veryfast'},
                   {'movflags': '+faststart'}, even=True)
#: Lossless gray H.264 in MP4. One thread without a queue of frames: many such videos may be written at once.
H264_MASK = VideoFormat('mp4', 'libx264', 'gray', _MP4_AUDIO, 1,
                        {'qp': '0', 'preset': 'ultrafast', 'tune': 'zerolatency', 'threads': '1'},
                        {'movflags': '+faststart'})
#: VP9 with alpha in WebM, which browsers show.
VP9_ALPHA = VideoFormat('webm', 'libvpx-vp9', 'yuva420p', AudioFormat('libopus', ('opus', 'vorbis')), 4,
                        {'crf': '20', 'b': '0', 'deadline': 'realtime', 'cpu-used': '6', 'row-mt': '1', 'threads': '4',
                         'auto-alt-ref': '0'})
#: ProRes 4444 with alpha in MOV, which video editors read.
PRORES_ALPHA = VideoFormat('mov', 'prores_ks', 'yuva444p10le',
                           AudioFormat('aac', ('aac', 'alac', 'mp3', 'ac3', 'eac3', 'pcm_s16le', 'pcm_s24le')), 4,
                           {'profile': '4444', 'alpha_bits': '16', 'vendor': 'apl0'})


@contextmanager
def open_video_writer(path: str | Path,
                      size: tuple[int, int],
                      fps: Real,
                      video_format: VideoFormat = H264,
                      waveform: np.ndarray | Tensor | None = None,
                      sample_rate: int | None = None,
                      audio_of: str | Path | None = None) -> Iterator[Callable[[np.ndarray], None]]:
    """Write a video, which appears under its name when it is complete; memory is bounded.

    Args:
        path: The file; its directory is created.
        size: (H, W) of the frames. If the format has even sizes only, an odd height or width is padded by a repeated
            row or column at the end.
        fps: Video frames per second: an integer, a fraction or a float such as 29.97. Frame k is shown from k / fps to
            (k + 1) / fps.
        video_format: Container and codecs.
        waveform: Audio that starts with the first frame, as for :func:`to_mono`; None for a video without audio.
        sample_rate: Samples of the waveform per second, needed with a waveform. Rates that the codec lacks are
            resampled to the next higher one.
        audio_of: A file whose audio track, from its first frame on, is the audio. It is copied; a track of a codec that
            the container does not hold is encoded anew, in stereo if it has two channels, else in mono. Without a track
            the video has no audio.

    Yields:
        Function that writes the next frame, (H, W, channels) uint8, without the last axis for one channel. At least one
        frame must be written.

    Raises:
        OSError: The file cannot be written.
        ValueError: A frame has another shape or type, ``fps`` or ``sample_rate`` is not a positive number, or the audio
            cannot be read.
    """
    path = Path(path)
    if not fps > 0 or not np.isfinite(float(fps)):
        raise ValueError(f'{path}: fps is {fps!r}, expected a positive number of frames per second')
    rate = Fraction(fps if isinstance(fps, (int, Fraction)) else float(fps)).limit_denominator(MAX_DENOMINATOR)
    padding = [(0, length % 2 if video_format.even else 0) for length in size]
    with atomic_write(path) as partial, av.open(
            str(partial), 'w', video_format.container, video_format.container_options) as container:
        video = _add_video_stream(container, [length + end for length, (_, end) in zip(size, padding)], rate,
                                  video_format)
        audio = iter(())
        if audio_of is not None:
            audio = copy_audio_track(audio_of, container, video_format.audio)
        elif waveform is not None:
            audio = encode_waveform(to_mono(waveform), check_rate(sample_rate), container, video_format.audio)
        waiting, count = next(audio, None), 0

        def write(frame: np.ndarray) -> None:
            nonlocal waiting, count
            frame = _check_frame(frame, count, size, video_format.channels, path)
            while waiting is not None and waiting[0] <= count / rate:
                container.mux(waiting[1])
                waiting = next(audio, None)
            if padding != [(0, 0), (0, 0)]:
                frame = np.pad(frame, padding + [(0, 0)] * (frame.ndim - 2), mode='edge')
            container.mux(video.encode(_to_video_frame(frame, video_format)))
            count += 1

        yield write
        container.mux(video.encode())
        while waiting is not None:
            container.mux(waiting[1])
            waiting = next(audio, None)


def _add_video_stream(container: av.container.OutputContainer, size: list[int], rate: Fraction,
                      video_format: VideoFormat) -> av.VideoStream:
    stream = container.add_stream(video_format.codec, rate=rate, options=dict(video_format.options))
    stream.height, stream.width = size
    stream.pix_fmt = video_format.pix_fmt
    context = stream.codec_context
    context.gop_size = max(1, round(SECONDS_PER_KEYFRAME * rate))
    if video_format.channels > 1:
        # Without these tags, players assume other coefficients for large frames than for small ones.
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
    return stream


def _to_video_frame(frame: np.ndarray, video_format: VideoFormat) -> av.VideoFrame:
    converted = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=FRAME_FORMATS[video_format.channels])
    if video_format.channels == 1:
        return converted
    # With several threads, FFmpeg writes beyond the rows of one part into those of the next, a few pixels at random.
    return converted.reformat(format=video_format.pix_fmt, dst_colorspace='ITU709', dst_color_range='MPEG', threads=1)


def _check_frame(frame: np.ndarray, number: int, size: tuple[int, int], channels: int, path: Path) -> np.ndarray:
    frame = np.asarray(frame)
    expected = (*size, channels) if channels > 1 else tuple(size)
    if frame.dtype != np.uint8 or frame.ndim != len(expected) or frame.shape[2:] != expected[2:] or 0 in frame.shape:
        shape = f'(H, W, {channels})' if channels > 1 else '(H, W)'
        raise ValueError(f'{path}: frame {number} has shape {frame.shape} and type {frame.dtype}, expected {shape} '
                         'uint8')
    if frame.shape != expected:
        raise ValueError(f'{path}: frame {number} has shape {frame.shape} and frame 0 {expected}, expected one size')
    return frame

"""Open what is segmented: video files, URLs, and clips in memory."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from pathlib import Path

import numpy as np

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.video import FRAME_POSITION, AudioTrack, ResampledAudio, list_videos, probe_video, sample_frames

from .inference import check_images, whole_audio
from .window_prediction import AudioSections, WindowPredictor

# With all frames of a video, the middle of a frame's time: rounded timestamps do not matter there.
NATIVE_POSITION = Fraction(1, 2)


@dataclass
class VideoSource:
    """A video that is ready to be segmented.

    Attributes:
        name: Path of the file; 'clip' for arrays.
        fps: Frames per second that are segmented.
        lead: Seconds by which the audio of a frame begins before its interval.
        open_frames: Function that starts to read the frames: seconds from the first frame, and (H, W, 3) uint8 RGB.
        audio: The audio at 16 kHz; it is read once.
        overlay_audio: Arguments of :func:`write_video` for the audio of an overlay video.
        duration: Seconds of the video, an estimate for a progress bar; None if the file does not say.
    """
    name: str
    fps: Fraction
    lead: Fraction
    open_frames: Callable[[], Iterable[tuple[float, np.ndarray]]]
    audio: AudioSections
    overlay_audio: dict
    duration: float | None = None

    def close(self) -> None:
        """Close the files of the audio; a source that was read to its end needs it as well."""
        if isinstance(self.audio, ResampledAudio):
            self.audio.close()


def list_inputs(inputs: str | Path | dict | Sequence[str | Path | dict]) -> list[str | Path | dict]:
    """List the inputs one by one: directories are replaced by their videos.

    Raises:
        ValueError: There is none.
    """
    items = inputs if isinstance(inputs, list | tuple) else [inputs]
    videos = []
    for item in items:
        videos += [item] if isinstance(item, dict) or '://' in str(item) else list_videos(item)
    if not videos:
        raise ValueError('the list of videos is empty, expected at least one')
    return videos


def open_source(item: str | Path | dict, fps: Real | str, predictor: WindowPredictor) -> VideoSource:
    """Open a video or a clip in memory.

    Args:
        item: One of :func:`list_inputs`.
        fps: Frames per second to segment, or 'native' for all frames of a video.
        predictor: Predictor of the model, which takes the audio.

    Raises:
        FileNotFoundError, TypeError, ValueError: It cannot be used, or ``fps`` is not a rate.
    """
    if not (fps == 'native' or isinstance(fps, Real) and 0 < fps < float('inf')):
        raise ValueError(f"fps is {fps!r}, expected a positive number of frames per second or 'native'")
    return _open_clip(item, fps, predictor) if isinstance(item, dict) else _open_video(item, fps, predictor.stereo)


def _open_clip(clip: dict, fps: Real | str, predictor: WindowPredictor) -> VideoSource:
    if set(clip) != {'frames', 'waveform', 'rate'}:
        raise ValueError(f'a clip in memory has the keys {sorted(clip)}, expected frames, waveform and rate')
    if fps == 'native':
        raise ValueError("fps is 'native', but frames in memory have no rate of their own: pass their number per "
                         'second')
    frames = check_images(clip['frames'], 'frames')
    audio = whole_audio(predictor, len(frames), clip['waveform'], clip['rate'], fps)
    overlay_audio = dict(waveform=clip['waveform'], sample_rate=clip['rate'])
    fps = _as_fraction(fps)
    timed_frames = [(float(k / fps), frame) for k, frame in enumerate(frames)]
    return VideoSource('clip', fps, Fraction(0), lambda: timed_frames, audio, overlay_audio,
                       len(frames) / float(fps))


def _open_video(path: str | Path, fps: Real | str, stereo: bool) -> VideoSource:
    properties, position = probe_video(path), FRAME_POSITION
    if fps == 'native':
        if not properties.frame_rate:
            raise ValueError(f'{path}: the file does not state its frame rate: pass fps as a number')
        fps, position = properties.frame_rate, NATIVE_POSITION
    fps = _as_fraction(fps)
    if properties.audio_rate:
        audio = ResampledAudio(AudioTrack(path, properties.start), SAMPLE_RATE, stereo)
    else:
        warnings.warn(f'{path}: no audio track, the video is segmented as silent', stacklevel=3)
        audio = _Silence(stereo)
    return VideoSource(str(path), fps, FRAME_POSITION - position / fps,
                       lambda: sample_frames(path, fps, position), audio, dict(audio_of=path), properties.duration)


class _Silence:
    """Audio of a video without an audio track."""

    def __init__(self, stereo: bool) -> None:
        self._channels = (2, ) if stereo else ()

    def section(self, start: int, stop: int) -> np.ndarray:
        return np.zeros((*self._channels, stop - start), np.float32)

    def forget(self, start: int) -> None:
        pass


def _as_fraction(fps: Real) -> Fraction:
    return fps if isinstance(fps, Fraction) else Fraction(float(fps))

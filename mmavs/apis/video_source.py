"""Open what is segmented: video files, URLs, directories of frames, and clips in memory."""
from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Real
from pathlib import Path

import numpy as np

from mmavs.audio.io import audio_seconds, read_stereo_waveform, read_waveform, require_stereo
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.video import (
    FRAME_POSITION,
    AudioTrack,
    ResampledAudio,
    is_url,
    list_clips,
    open_frame_directory,
    probe_video,
    sample_frames,
    start_time,
)

from .inference import check_images, whole_audio
from .window_prediction import AudioSections, WindowPredictor

#: Name of the audio that is silence, for :func:`open_source`.
MUTED = 'none'
# With all frames of a video, the middle of a frame's time: rounded timestamps do not matter there.
NATIVE_POSITION = Fraction(1, 2)


@dataclass
class VideoSource:
    """A video that is ready to be segmented.

    Attributes:
        name: Path of the file or directory of frames; 'clip' for arrays.
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
    """List the inputs one by one: directories of videos and patterns are replaced by their videos.

    Raises:
        TypeError: An input is neither a path nor a dict.
        ValueError: There is none.
    """
    items = inputs if isinstance(inputs, list | tuple) else [inputs]
    videos = []
    for item in items:
        if not isinstance(item, str | Path | dict):
            raise TypeError(f'an input is of type {type(item).__name__}, expected a path, a URL, or a clip as '
                            'dict(frames=, waveform=, rate=)')
        videos += [item] if isinstance(item, dict) or is_url(item) else list_clips(item)
    if not videos:
        raise ValueError('the list of videos is empty, expected at least one')
    return videos


def open_source(item: str | Path | dict,
                fps: Real | str,
                predictor: WindowPredictor,
                audio: str | Path | None = None) -> VideoSource:
    """Open a video, a directory of frames or a clip in memory.

    Args:
        item: One of :func:`list_inputs`.
        fps: Frames per second to segment, or 'native' for all frames of a video.
        predictor: Predictor of the model, which takes the audio.
        audio: Audio that replaces the original: 'none' for silence, or a video or audio file, whose audio begins with
            the first frame; silence follows where it ends before the frames. None: the original audio.

    Raises:
        FileNotFoundError, PermissionError, TypeError, ValueError: It cannot be used, or ``fps`` is not a rate.
    """
    if not (fps == 'native' or isinstance(fps, Real) and 0 < fps < float('inf')):
        raise ValueError(f"fps is {fps!r}, expected a positive number of frames per second or 'native'")
    if isinstance(item, dict):
        source = _open_clip(item, fps, predictor)
    else:
        source = (_open_frames if Path(item).is_dir() else _open_video)(item, fps, predictor.stereo)
    return source if audio is None else _replace_audio(source, audio, predictor.stereo)


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
    return VideoSource('clip', fps, Fraction(0), lambda: _with_times(frames, fps), audio, overlay_audio,
                       float(len(frames) / fps))


def _open_frames(directory: str | Path, fps: Real | str, stereo: bool) -> VideoSource:
    """Open a directory of frames: ``fps`` of them belong to a second, the first is at time 0."""
    if fps == 'native':
        raise ValueError(f"{directory}: fps is 'native', but frames in a directory have no rate of their own: pass "
                         'their number per second')
    clip, fps = open_frame_directory(directory), _as_fraction(fps)
    duration = float(len(clip.frames) / fps)
    if clip.audio is None:
        warnings.warn(f'{directory}: no audio file, the frames are segmented as silent', stacklevel=3)
        audio: AudioSections = _Silence(stereo)
    else:
        if stereo:
            require_stereo(clip.audio)
        if (seconds := audio_seconds(clip.audio, duration)) < duration / 2:
            warnings.warn(f'{clip.audio}: {seconds:.1f} s of audio for {len(clip.frames)} frames of {duration:.4g} s, '
                          'the rest is silent; if there are more frames per second, pass fps', stacklevel=3)
        audio = _AudioFile(clip.audio, stereo)
    return VideoSource(
        str(directory), fps, Fraction(0), lambda: _with_times(clip.read_frames(), fps), audio,
        dict() if clip.audio is None else dict(audio_of=clip.audio), duration)


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


def _replace_audio(source: VideoSource, audio: str | Path, stereo: bool) -> VideoSource:
    """Return the source with silence, or with the audio of another file."""
    source.close()
    if audio == MUTED:
        return replace(source, audio=_Silence(stereo), overlay_audio={})
    track = AudioTrack(audio, start_time(audio))
    return replace(source, audio=ResampledAudio(track, SAMPLE_RATE, stereo), overlay_audio=dict(audio_of=audio))


def _with_times(frames: Iterable[np.ndarray], fps: Fraction) -> Iterator[tuple[float, np.ndarray]]:
    return ((float(k / fps), frame) for k, frame in enumerate(frames))


@dataclass
class _AudioFile:
    """Audio of a directory of frames."""
    path: Path
    stereo: bool

    def section(self, start: int, stop: int) -> np.ndarray:
        return (read_stereo_waveform if self.stereo else read_waveform)(self.path, SAMPLE_RATE, start, stop)

    def forget(self, start: int) -> None:
        pass


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

"""Load, mix, flip and mute the audio of a clip."""
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform

from mmavs.audio.io import audio_seconds, read_stereo_waveform, read_waveform, require_stereo, waveform_length
from mmavs.audio.log_mel import (
    EXAMPLE_SHAPE,
    FRAMES_PER_EXAMPLE,
    HOP,
    LOG_OFFSET,
    MIN_SAMPLES,
    SAMPLE_RATE,
    min_seconds,
)
from mmavs.checkpoint.tensor_file import load_tensor
from mmavs.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadAudio(BaseTransform):
    """Read the audio of a clip, as a waveform or as the log-mel examples that AVSBench ships.

    The audio is cut or padded to a fixed length for batching. Silence is valid. Clipped audio (samples at full scale)
    is passed on unchanged, because it cannot be distinguished from loud audio.

    Args:
        source: 'waveform': read the wav file, of any rate and number of channels. 'log_mel': read the pickled
            examples of VGGish, without executing anything in the file.
        num_seconds: Length of the waveform; None: one second for each of the clip's T frames.
        short_log_mel: Padding of fewer log-mel examples than frames: 'repeat' the last (S4, MS3) or 'zeros' (AVSS).
        mark_end: Whether to tell the audio backbone where the file ends in a padded waveform. The padding is then
            missing audio instead of silence. BEATs masks it; VGGish gives frames without a complete second of audio
            examples of zeros, as the released code of AVSBench, AVSegFormer and VCT does on AVSS.

    Required keys: ``audio_path`` or ``log_mel_path``, ``frame_paths``; ``first_frame``, if the frames do not begin with
    the first one of the audio: that is then cut where the example of this frame begins (0.96 s for each frame). Not for
    clips of more than ten frames, whose examples begin elsewhere. Added keys: ``waveform``, (L,) float32 in
    [-1, 1], mono, 16 kHz, padded with zeros, and with ``mark_end`` ``num_samples``, the number of samples before the
    padding; or ``log_mel``, (T, 1, 96, 64) float32.

    Raises:
        FileNotFoundError: There is no such file, or the clip has no audio of that source.
        ValueError: The file is truncated, holds NaN, less than 0.975 s of audio, or log-mel of another shape.
    """

    def __init__(self,
                 source: str = 'waveform',
                 num_seconds: float | None = None,
                 short_log_mel: str = 'repeat',
                 mark_end: bool = False) -> None:
        if source not in ('waveform', 'log_mel'):
            raise ValueError(f"source is {source!r}, expected 'waveform' or 'log_mel'")
        if short_log_mel not in ('repeat', 'zeros'):
            raise ValueError(f"short_log_mel is {short_log_mel!r}, expected 'repeat' or 'zeros'")
        self.source = source
        self.num_seconds = num_seconds
        self.short_log_mel = short_log_mel
        self.mark_end = mark_end
        self.path_key = 'audio_path' if source == 'waveform' else 'log_mel_path'

    def transform(self, results: dict) -> dict:
        """Read the audio."""
        path, num_frames = results[self.path_key], len(results['frame_paths'])
        if path is None:
            raise FileNotFoundError(f"clip {results['clip_id']}: no file for LoadAudio(source={self.source!r})")
        first = results.get('first_frame', 0)
        if self.source == 'waveform':
            seconds = num_frames if self.num_seconds is None else self.num_seconds
            num_samples, start = math.ceil(seconds * SAMPLE_RATE), first * FRAMES_PER_EXAMPLE * HOP
            waveform = read_waveform(path, SAMPLE_RATE, start, start + num_samples)
            end = start + len(waveform) if len(waveform) else waveform_length(path)
            _require_one_example(end / SAMPLE_RATE, path)
            if self.mark_end:
                results['num_samples'] = len(waveform)
            results['waveform'] = np.pad(waveform, (0, num_samples - len(waveform)))
        else:
            results['log_mel'] = read_log_mel(path, first + num_frames, self.short_log_mel)[first:]
        return results

    def check_files(self, clip: dict) -> str | None:
        """Raise an error if the audio of a clip cannot be used; return a message if its length does not fit the frames.

        That is less audio than the frames take, or more than twice as much.
        """
        path, num_frames = clip[self.path_key], sum(clip['valid'])
        if self.source == 'log_mel':
            found, needed, unit = len(read_log_mel(path)), num_frames, 'log-mel examples'
        else:
            used = num_frames if self.num_seconds is None else self.num_seconds
            found, needed, unit = audio_seconds(path, used), min_seconds(num_frames), 's of audio'
            _require_one_example(found, path)
            if found > 2 * used:
                needed = math.inf
        return f'{path}: {found:.4g} {unit} for {num_frames} frames' if found < needed else None


@TRANSFORMS.register_module()
class LoadMixedAudio(BaseTransform):
    """Read the audio of each object of a clip and mix it as CAVP does for VPO.

    The center of each waveform is used; one that is too short is repeated from its beginning (CAVP's code repeats its
    last fraction of a second instead, a bug). The mix is the plain sum, neither averaged nor clipped: several loud
    waveforms may leave [-1, 1].

    ``audio_mode`` of the clip states whether the mix is mono or stereo. For stereo, a waveform w at position p in
    [0, 1] (``audio_positions``) is added to the left channel as w (1 - p) and to the right as w p; the mono mix is the
    sum of the channels. Without positions, the two channels of the file are used unchanged.

    Args:
        num_seconds: Length of the waveform.

    Required keys: ``audio_paths``, ``audio_positions`` (one number for each path, or None), ``audio_mode``. Added keys:
    ``waveform``, (L,) or (2, L) float32, 16 kHz.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is truncated, holds NaN, or has one channel although two are needed.
    """

    path_key = 'audio_paths'

    def __init__(self, num_seconds: float = 3.0) -> None:
        self.num_samples = round(num_seconds * SAMPLE_RATE)

    def transform(self, results: dict) -> dict:
        """Read and mix the audio."""
        stereo, positions = results['audio_mode'] == 'stereo', results['audio_positions']
        mix = np.zeros((2, self.num_samples) if stereo else self.num_samples, np.float32)
        for i, path in enumerate(results['audio_paths']):
            read = read_stereo_waveform if stereo and positions is None else read_waveform
            waveform = read_center(path, self.num_samples, read)
            if stereo and positions is not None:
                waveform = waveform * np.array([[1 - positions[i]], [positions[i]]], np.float32)
            mix += waveform
        results['waveform'] = mix
        return results

    def check_files(self, clip: dict) -> None:
        """Raise an error if an audio file of a clip cannot be used."""
        for path in clip['audio_paths']:
            audio_seconds(path)
            if clip['audio_mode'] == 'stereo' and clip['audio_positions'] is None:
                require_stereo(path)


@TRANSFORMS.register_module()
class FlipAudio(BaseTransform):
    """Exchange the channels of stereo audio if the frames have been flipped horizontally.

    Place it after :class:`LoadMixedAudio` and the :class:`ClipBroadcaster` whose RandomFlip flips the clip. Mono audio
    is not changed. Exchanging the channels is equivalent to mirroring the positions of all objects.

    Modified keys: ``waveform``, ``audio_positions`` (p becomes 1 - p). Removed keys: ``flip`` and ``flip_direction``;
    a second FlipAudio therefore does not flip again.

    Raises:
        ValueError: There is no waveform yet.
    """

    def transform(self, results: dict) -> dict:
        """Flip the audio."""
        if 'waveform' not in results:
            raise ValueError('FlipAudio found no waveform to flip: put it after LoadMixedAudio in the pipeline')
        flip, direction = results.pop('flip', False), results.pop('flip_direction', None)
        if not flip or direction == 'vertical':
            return results
        if results['waveform'].ndim == 2:
            results['waveform'] = np.ascontiguousarray(results['waveform'][::-1])
        if results.get('audio_positions') is not None:
            results['audio_positions'] = [1 - position for position in results['audio_positions']]
        return results


@TRANSFORMS.register_module()
class MuteAudio(BaseTransform):
    """Replace the audio of a clip by silence of the same length, for the audio ablation.

    Modified keys: ``waveform`` (zeros), ``log_mel`` (ln 0.01, VGGish's log-mel of silence).
    """

    def transform(self, results: dict) -> dict:
        """Mute the audio."""
        if 'waveform' in results:
            results['waveform'] = np.zeros_like(results['waveform'])
        if 'log_mel' in results:
            results['log_mel'] = np.full_like(results['log_mel'], math.log(LOG_OFFSET))
        return results


def read_center(path: str | Path, num_samples: int, read: Callable[..., np.ndarray] = read_waveform) -> np.ndarray:
    """Read the central ``num_samples`` of an audio file at 16 kHz; repeat a shorter one from its beginning.

    Args:
        path: The file.
        num_samples: Length of the result.
        read: :func:`read_waveform` or :func:`read_stereo_waveform`.

    Returns:
        (..., num_samples) float32.
    """
    length = waveform_length(path, SAMPLE_RATE)
    start = max(0, (length - num_samples) // 2)
    waveform = read(path, SAMPLE_RATE, start, start + num_samples)
    return np.tile(waveform, -(-num_samples // length))[..., :num_samples]


def _require_one_example(seconds: float, path: str) -> None:
    if seconds < MIN_SAMPLES / SAMPLE_RATE:
        raise ValueError(f'{path}: {seconds:.3f} s of audio is too short, expected at least '
                         f'{MIN_SAMPLES / SAMPLE_RATE} s')


def read_log_mel(path: str, num_examples: int | None = None, short: str = 'repeat') -> np.ndarray:
    """Read pickled log-mel examples, (n, 1, 96, 64) float32, cut or padded to ``num_examples`` unless it is None."""
    log_mel = load_tensor(path).float().numpy()
    if log_mel.ndim != 4 or log_mel.shape[1:] != EXAMPLE_SHAPE or not len(log_mel):
        raise ValueError(f'{path}: log-mel of shape {log_mel.shape}, expected (n, 1, 96, 64) with n >= 1')
    if not np.isfinite(log_mel).all():
        raise ValueError(f'{path}: the log-mel has NaN or infinite values')
    if num_examples is None or len(log_mel) == num_examples:
        return log_mel
    if len(log_mel) > num_examples:
        return log_mel[:num_examples]
    last = log_mel[-1:] if short == 'repeat' else np.zeros((1, *EXAMPLE_SHAPE), np.float32)
    return np.concatenate([log_mel, np.repeat(last, num_examples - len(log_mel), 0)])

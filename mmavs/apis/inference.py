"""Segment a clip or a video that is given as arrays."""
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import Tensor

from mmavs.audio.io import check_channels, check_rate, check_samples, float_samples
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.audio.resampling import resample, resampled_section
from mmavs.structures import AVSDataSample

from .clip_windows import ClipWindow
from .mask_priors import MaskPriorOption, PriorOfFrame, open_mask_prior
from .window_prediction import WindowPredictor


def inference_clip(model: BaseModel,
                   frames: np.ndarray | Tensor | Sequence[np.ndarray],
                   waveform: np.ndarray | Tensor,
                   rate: int,
                   mask_prior: np.ndarray | Tensor | Sequence[np.ndarray] | MaskPriorOption | None = None,
                   fps: Real = 1,
                   outputs: Sequence[str] | None = None,
                   prob_dtype: torch.dtype = torch.float32) -> AVSDataSample:
    """Segment the sounding objects of a clip or a video of any length, with the test pipeline of the model's config.

    Frame k belongs to the time k / fps. The model gets clips as in its training: frames one second apart, at most
    ``model.dataset_meta['clip_length']`` of them (5 for S4 and MS3, 10 for AVSS, 1 for VPO; 10 if neither checkpoint
    nor dataset state it), each with the audio that begins at its first frame. Longer videos, and those of more than one
    frame per second, are cut into such windows (:func:`mmavs.apis.clip_windows.cut_into_windows`).

    Args:
        model: A model of :func:`init_model`.
        frames: T frames in RGB, (T, H, W, 3) uint8 in [0, 255]; any size.
        waveform: The audio, (L,) or (L, channels), which begins with the first frame: int16, int32, or floats in
            [-1, 1]; channels are mixed unless the model takes stereo. A model takes one second of it for each frame of
            a window, one of VPO three (``audio_backbone.examples_per_frame``). The rest is not used. Missing audio is
            silence, or marked as missing if the test pipeline does so (``LoadAudio(mark_end=True)``).
        rate: Samples per second of ``waveform``, 1000 to 384000.
        mask_prior: For models with a mask-prior branch, the mask prior of each frame, like ``frames`` but of any size;
            or a :class:`MaskPriorGenerator` or its name, such as 'none', which makes them.
        fps: Frames per second of ``frames``; an int, a float or a Fraction.
        outputs: Predictions to return, fields of :class:`AVSDataSample`; None for those of the model's config, by
            default ``('pred_sem_seg', 'foreground_prob')``. For 60 frames of 1920x1080, ``pred_sem_seg`` takes 0.12 GB,
            ``foreground_prob`` 0.5 GB, and ``seg_logits`` of 71 classes 35 GB.
        prob_dtype: Type of ``foreground_prob``: float32, or float16 or uint8 to save memory; see
            :class:`mmavs.models.segmentors.clip_prediction.ClipPrediction`.

    Returns:
        The data sample with the ``outputs`` at the size of the frames, on the device of the model: by default
        ``pred_sem_seg`` (T, H, W) uint8, the predicted classes, and ``foreground_prob`` (T, H, W).

    Raises:
        TypeError: Frames or waveform are of another type.
        ValueError: They have another shape or hold NaN, the audio lasts less than half as long as the frames, or the
            mask prior is missing or not supported.
    """
    predictor = WindowPredictor(model)
    frames = check_images(frames, 'frames')
    priors = _priors_of_frames(model, len(frames), mask_prior, fps)
    audio = whole_audio(predictor, len(frames), waveform, rate, fps)
    return _join(predictor.predict(frames, audio, fps, 0, priors, outputs, prob_dtype), len(frames))


@dataclass
class WholeAudio:
    """Audio that is in memory, see :class:`mmavs.apis.window_prediction.AudioSections`.

    Attributes:
        samples: (L,), or (2, L) in stereo, at 16 kHz.
    """
    samples: np.ndarray

    def section(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop``, fewer if the audio ends before."""
        return self.samples[..., start:stop]

    def forget(self, start: int) -> None:
        """Nothing is read, nothing is forgotten."""


def whole_audio(predictor: WindowPredictor, num_frames: int, waveform: np.ndarray | Tensor, rate: int,
                fps: Real) -> WholeAudio:
    """Check the audio of ``num_frames`` frames and resample what their windows take.

    Raises:
        TypeError: The waveform is of another type.
        ValueError: It has another shape, holds NaN, or lasts less than half as long as the frames.
    """
    waveform = _check_waveform(waveform, rate, predictor.stereo)
    end = max(predictor.audio_span(window)[1] for window in predictor.cutter(fps).cut(num_frames, ended=True))
    _check_duration(len(waveform) / rate, num_frames, fps, end / SAMPLE_RATE)
    return WholeAudio(_resample(waveform, int(rate), end, predictor.stereo))


def _join(predicted: Iterator[tuple[ClipWindow, AVSDataSample]], num_frames: int) -> AVSDataSample:
    """Put the predictions of windows into one data sample, in the order of the frames."""
    joined = None
    for window, sample in predicted:
        if len(window.frames) == num_frames:
            return sample
        if joined is None:
            joined = AVSDataSample(metainfo=sample.metainfo)
            joined.set_data({key: x.new_empty(num_frames, *x.shape[1:]) for key, x in sample.items()})
        new = torch.from_numpy(window.new)
        frames = torch.from_numpy(window.frames)[new]
        for key, x in sample.items():
            joined.get(key)[frames.to(x.device)] = x[new.to(x.device)]
    return joined


def check_images(images: np.ndarray | Tensor | Sequence[np.ndarray], name: str) -> list[np.ndarray]:
    """Return T arrays (H, W, 3) uint8 of one size; a TypeError or ValueError that begins with ``name`` otherwise."""
    if isinstance(images, Tensor):
        images = images.cpu().numpy()
    images = [np.asarray(image) for image in images]
    if not images:
        raise ValueError(f'{name} is empty, expected at least one image')
    for t, image in enumerate(images):
        if image.dtype != np.uint8:
            raise TypeError(f'{name}[{t}] is of type {image.dtype}, expected uint8 in [0, 255]')
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f'{name}[{t}] has the shape {image.shape}, expected (H, W, 3), RGB with channels last')
        if image.shape != images[0].shape:
            raise ValueError(f'{name}[{t}] has the shape {image.shape} and {name}[0] {images[0].shape}, expected '
                             'one size')
    return images


def _check_waveform(waveform: np.ndarray | Tensor, rate: int, stereo: bool) -> np.ndarray:
    """Return samples (L,) or (L, channels), (L, 2) for stereo."""
    samples = waveform.cpu().numpy() if isinstance(waveform, Tensor) else np.asarray(waveform)
    if samples.dtype not in (np.int16, np.int32) and not np.issubdtype(samples.dtype, np.floating):
        raise TypeError(f'waveform is of type {samples.dtype}, expected int16, int32, or floats in [-1, 1]')
    if samples.ndim not in (1, 2) or samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise ValueError(f'waveform has the shape {samples.shape}, expected (L,) or (L, channels)')
    if samples.size == 0:
        raise ValueError('waveform is empty; for a silent clip pass zeros')
    if stereo and (samples.ndim != 2 or samples.shape[1] != 2):
        raise ValueError(f'waveform has the shape {samples.shape}, expected (L, 2): the model takes stereo')
    if not isinstance(rate, Real) or rate <= 0 or rate % 1:
        raise ValueError(f'rate is {rate!r}, expected a positive whole number of samples per second')
    check_rate(rate, 'rate')
    check_channels(samples.shape[-1] if samples.ndim == 2 else 1, 'waveform')
    return samples


def _check_duration(given: float, num_frames: int, fps: Real, used: float) -> None:
    """Raise an error if audio of ``given`` seconds is far too short for the frames; warn if it is far too long."""
    asked = float(num_frames / fps)
    frames = f'{num_frames} frames at {float(fps):.4g} fps'
    if num_frames > 1 and given < asked / 2:
        raise ValueError(f'{frames} ask for {asked:.4g} s of audio, the waveform has {given:.1f} s: pass one frame per '
                         f'second, or fps={num_frames / given:.4g}; if the rest of the video is silent, pad the '
                         'waveform with zeros')
    if given > 2 * max(asked, used):
        warnings.warn(
            f'{frames} take {used:.4g} s of audio, the waveform has {given:.1f} s, whose end is not used; if the '
            f'frames span all of it, pass fps={num_frames / given:.4g}', stacklevel=4)


def _resample(samples: np.ndarray, rate: int, length: int, stereo: bool) -> np.ndarray:
    """Return the first ``length`` samples at 16 kHz, or all if there are fewer: (L,), or (2, L) in stereo."""
    # Audio after the windows is neither converted nor resampled.
    samples = samples[:resampled_section(0, length, rate, SAMPLE_RATE)[1]]
    samples = float_samples(samples)
    check_samples(samples, 'waveform')
    samples = samples.clip(-1, 1)
    if stereo:
        return np.stack([resample(channel, rate, SAMPLE_RATE) for channel in samples.T])[:, :length]
    mono = samples.mean(1) if samples.ndim == 2 else samples
    return resample(mono, rate, SAMPLE_RATE)[:length]


def _priors_of_frames(model: BaseModel, num_frames: int,
                      mask_prior: np.ndarray | Tensor | Sequence[np.ndarray] | MaskPriorOption | None,
                      fps: Real) -> PriorOfFrame | None:
    """Return the function of the mask prior of a frame; a ValueError if it is missing, or does not fit the model."""
    if mask_prior is None or isinstance(mask_prior, MaskPriorOption):
        source = open_mask_prior(mask_prior, model)
        return source and source.of_video('clip', fps)
    images = check_images(mask_prior, 'mask_prior')
    if getattr(model, 'mask_prior', None) is None:
        raise ValueError('mask_prior is given, but the model has no mask-prior branch')
    if len(images) != num_frames:
        raise ValueError(f'mask_prior has {len(images)} images, expected one for each of the {num_frames} frames')
    return lambda index, frame: images[index]

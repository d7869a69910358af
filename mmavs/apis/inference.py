"""Segment a clip that is given as arrays."""
from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor

from mmavs.audio.io import check_samples
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.audio.resampling import resample
from mmavs.registry import TRANSFORMS
from mmavs.structures import AVSDataSample
from mmavs.utils.config import find_clip_dataset

INTEGER_SCALES = {np.dtype(np.int16): 2**15, np.dtype(np.int32): 2**31}

# Transforms of a test pipeline that inference skips because they generate targets. It also skips those that read files,
# which have a ``path_key``.
TARGET_TRANSFORMS = ('GenerateEventLabels', )


def inference_clip(model: BaseModel,
                   frames: np.ndarray | Tensor | Sequence[np.ndarray],
                   waveform: np.ndarray | Tensor,
                   rate: int,
                   mask_prior: np.ndarray | Tensor | Sequence[np.ndarray] | None = None,
                   outputs: Sequence[str] | None = None,
                   prob_dtype: torch.dtype = torch.float32) -> AVSDataSample:
    """Segment the sounding objects of one clip, with the test pipeline of the model's config.

    Args:
        model: A model of :func:`init_model`.
        frames: T frames in RGB, (T, H, W, 3) uint8 in [0, 255], one for each second of audio; any size. Models of VPO
            take three seconds of audio for a frame (``audio_backbone.examples_per_frame``).
        waveform: The audio of the clip, (L,) or (L, channels): int16, int32, or floats in [-1, 1]; channels are mixed
            unless the model takes stereo. Audio beyond the duration of the frames is cut off. Missing audio is
            silence, or marked as missing if the test pipeline does so (``LoadAudio(mark_end=True)``).
        rate: Samples per second of ``waveform``.
        mask_prior: A rendered segmentation of each frame, like ``frames``, for models that have such a branch.
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
        ValueError: They have another shape or hold NaN, or the mask prior is missing or not supported.
    """
    frames = _check_images(frames, 'frames')
    transforms = _test_transforms(model)
    num_samples = len(frames) * model.audio_backbone.examples_per_frame * SAMPLE_RATE
    samples = _resample(waveform, rate, model.audio_backbone.stereo)[..., :num_samples]
    missing = num_samples - samples.shape[-1]
    results = dict(
        frames=frames,
        waveform=np.pad(samples, [*[(0, 0)] * (samples.ndim - 1), (0, missing)]),
        ori_shape=frames[0].shape[:2])
    if any(getattr(transform, 'mark_end', False) for transform in transforms):
        results['num_samples'] = num_samples - missing
    if mask_prior is not None:
        results['mask_prior'] = _check_images(mask_prior, 'mask_prior')
    _check_mask_prior(model, results)
    results.update(
        clip_id='clip',
        subset=None,
        category=None,
        frame_paths=[None] * len(frames),
        valid=[True] * len(frames),
        labelled=[False] * len(frames))
    packed = Compose([transform for transform in transforms if _works_in_memory(transform)])(results)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            batch = model.data_preprocessor({key: [value] for key, value in packed.items()})
            return model(**batch, mode='predict', outputs=outputs, prob_dtype=prob_dtype)[0]
    finally:
        model.train(training)


def _check_images(images: np.ndarray | Tensor | Sequence[np.ndarray], name: str) -> list[np.ndarray]:
    """Return T arrays (H, W, 3) uint8 of one size."""
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


def _resample(waveform: np.ndarray | Tensor, rate: int, stereo: bool) -> np.ndarray:
    """Return float samples at 16 kHz, (L,) of one channel or (2, L) in stereo."""
    samples = waveform.cpu().numpy() if isinstance(waveform, Tensor) else np.asarray(waveform)
    if samples.dtype in INTEGER_SCALES:
        samples = samples.astype(np.float32) / INTEGER_SCALES[samples.dtype]
    elif not np.issubdtype(samples.dtype, np.floating):
        raise TypeError(f'waveform is of type {samples.dtype}, expected int16, int32, or floats in [-1, 1]')
    if samples.ndim not in (1, 2) or samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise ValueError(f'waveform has the shape {samples.shape}, expected (L,) or (L, channels)')
    if samples.size == 0:
        raise ValueError('waveform is empty; for a silent clip pass zeros')
    if int(rate) != rate or rate <= 0:
        raise ValueError(f'rate is {rate}, expected a positive whole number of samples per second')
    samples = samples.astype(np.float32, copy=False)
    check_samples(samples, 'waveform')
    if stereo:
        if samples.ndim != 2 or samples.shape[1] != 2:
            raise ValueError(f'waveform has the shape {samples.shape}, expected (L, 2): the model takes stereo')
        return np.stack([resample(channel.clip(-1, 1), int(rate), SAMPLE_RATE) for channel in samples.T])
    mono = samples.mean(1) if samples.ndim == 2 else samples
    return resample(mono.clip(-1, 1), int(rate), SAMPLE_RATE)


def _check_mask_prior(model: BaseModel, results: dict) -> None:
    required, given = getattr(model, 'mask_prior', None) is not None, 'mask_prior' in results
    if required and not given:
        raise ValueError('mask_prior is missing: the model has a mask-prior branch; pass one image for each frame, '
                         'or use the config of the same name without mask-prior')
    if given and not required:
        raise ValueError('mask_prior is given, but the model has no mask-prior branch')
    if given and len(results['mask_prior']) != len(results['frames']):
        raise ValueError(f"mask_prior has {len(results['mask_prior'])} images, expected one for each of the "
                         f"{len(results['frames'])} frames")


def _test_transforms(model: BaseModel) -> list[BaseTransform]:
    """Build the test pipeline of the model's config."""
    config = getattr(model, 'cfg', None)
    if config is None or 'test_dataloader' not in config:
        raise ValueError('the model has no config with a test_dataloader, whose pipeline is needed: make the model '
                         'with init_model')
    _, dataset = find_clip_dataset(config, 'test')
    with DefaultScope.overwrite_default_scope('mmavs'):
        return [TRANSFORMS.build(dict(transform)) for transform in dataset.pipeline]


def _works_in_memory(transform: BaseTransform) -> bool:
    return not hasattr(transform, 'path_key') and type(transform).__name__ not in TARGET_TRANSFORMS

"""Segment one clip that is in memory."""
from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor

from mmavs.audio.io import check_samples
from mmavs.audio.resampling import resample
from mmavs.registry import TRANSFORMS
from mmavs.structures import AVSDataSample
from mmavs.utils.config import find_clip_dataset

SAMPLE_RATE = 16000
INTEGER_SCALES = {np.dtype(np.int16): 2**15, np.dtype(np.int32): 2**31}

# Transforms of a test pipeline that inference leaves out: what reads files (they have a ``path_key``), and what makes
# targets.
TARGET_TRANSFORMS = ('GenerateEventLabels', )


def inference_clip(model: BaseModel,
                   frames: np.ndarray | Tensor | Sequence[np.ndarray],
                   waveform: np.ndarray | Tensor,
                   rate: int,
                   mask_prior: np.ndarray | Tensor | Sequence[np.ndarray] | None = None) -> AVSDataSample:
    """Segment the sounding objects of one clip, as the test pipeline of the model's config does.

    Args:
        model: A model of :func:`init_model`.
        frames: T frames in RGB, (T, H, W, 3) uint8 in [0, 255], one for each second of sound; any size. A model of VPO
            hears three seconds for a frame (``audio_backbone.examples_per_frame``).
        waveform: The sound of the clip, (L,) or (L, channels): int16, int32, or floats in [-1, 1]; channels are mixed
            unless the model hears stereo. What is more than the seconds of the frames is not used; what is missing is
            silence, or known to be missing where the test pipeline says so (``LoadAudio(mark_end=True)``).
        rate: Samples per second of ``waveform``.
        mask_prior: A rendered segmentation of each frame, like ``frames``, for models that have such a branch.

    Returns:
        The data sample with ``pred_sem_seg`` (T, H, W), ``seg_logits`` (T, K, H, W) and ``foreground_prob`` (T, H, W)
        at the size of the frames, on the device of the model.

    Raises:
        TypeError: Frames or waveform are of another type.
        ValueError: They have another shape or hold NaN, or the mask prior is missing or not wanted.
    """
    frames = _pictures(frames, 'frames')
    transforms = _test_transforms(model)
    num_samples = len(frames) * model.audio_backbone.examples_per_frame * SAMPLE_RATE
    sound = _waveform(waveform, rate, model.audio_backbone.stereo)[..., :num_samples]
    missing = num_samples - sound.shape[-1]
    results = dict(
        frames=frames,
        waveform=np.pad(sound, [*[(0, 0)] * (sound.ndim - 1), (0, missing)]),
        ori_shape=frames[0].shape[:2])
    if any(getattr(transform, 'mark_end', False) for transform in transforms):
        results['num_samples'] = num_samples - missing
    if mask_prior is not None:
        results['mask_prior'] = _pictures(mask_prior, 'mask_prior')
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
            return model.test_step({key: [value] for key, value in packed.items()})[0]
    finally:
        model.train(training)


def _pictures(pictures: np.ndarray | Tensor | Sequence[np.ndarray], name: str) -> list[np.ndarray]:
    """T arrays (H, W, 3) uint8 of one size."""
    if isinstance(pictures, Tensor):
        pictures = pictures.cpu().numpy()
    pictures = [np.asarray(picture) for picture in pictures]
    if not pictures:
        raise ValueError(f'{name}: there are none, expected at least one picture')
    for t, picture in enumerate(pictures):
        if picture.dtype != np.uint8:
            raise TypeError(f'{name}[{t}] is of type {picture.dtype}, expected uint8 in [0, 255]')
        if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise ValueError(f'{name}[{t}] has the shape {picture.shape}, expected (H, W, 3), RGB with channels last')
        if picture.shape != pictures[0].shape:
            raise ValueError(f'{name}[{t}] has the shape {picture.shape} and {name}[0] {pictures[0].shape}, expected '
                             'one size')
    return pictures


def _waveform(waveform: np.ndarray | Tensor, rate: int, stereo: bool) -> np.ndarray:
    """Float samples at 16 kHz, (L,) of one channel or (2, L) in stereo."""
    samples = waveform.cpu().numpy() if isinstance(waveform, Tensor) else np.asarray(waveform)
    if samples.dtype in INTEGER_SCALES:
        samples = samples.astype(np.float32) / INTEGER_SCALES[samples.dtype]
    elif not np.issubdtype(samples.dtype, np.floating):
        raise TypeError(f'waveform is of type {samples.dtype}, expected int16, int32, or floats in [-1, 1]')
    if samples.ndim not in (1, 2) or samples.ndim == 2 and samples.shape[1] > samples.shape[0]:
        raise ValueError(f'waveform has the shape {samples.shape}, expected (L,) or (L, channels)')
    if samples.size == 0:
        raise ValueError('waveform holds no sample; for a clip without sound pass zeros')
    if int(rate) != rate or rate <= 0:
        raise ValueError(f'rate is {rate}, expected a positive whole number of samples per second')
    samples = samples.astype(np.float32, copy=False)
    check_samples(samples, 'waveform')
    if stereo:
        if samples.ndim != 2 or samples.shape[1] != 2:
            raise ValueError(f'waveform has the shape {samples.shape}, expected (L, 2): the model hears stereo')
        return np.stack([resample(channel.clip(-1, 1), int(rate), SAMPLE_RATE) for channel in samples.T])
    mono = samples.mean(1) if samples.ndim == 2 else samples
    return resample(mono.clip(-1, 1), int(rate), SAMPLE_RATE)


def _check_mask_prior(model: BaseModel, results: dict) -> None:
    wanted, given = getattr(model, 'mask_prior', None) is not None, 'mask_prior' in results
    if wanted and not given:
        raise ValueError('mask_prior is missing: the model has a mask-prior branch; pass one picture for each frame, '
                         'or use the config of the same name without mask-prior')
    if given and not wanted:
        raise ValueError('mask_prior is given, but the model has no mask-prior branch')
    if given and len(results['mask_prior']) != len(results['frames']):
        raise ValueError(f"mask_prior has {len(results['mask_prior'])} pictures, expected one for each of the "
                         f"{len(results['frames'])} frames")


def _test_transforms(model: BaseModel) -> list[BaseTransform]:
    """The test pipeline of the model's config."""
    config = getattr(model, 'cfg', None)
    if config is None or 'test_dataloader' not in config:
        raise ValueError('the model has no config with a test_dataloader, whose pipeline is needed: make the model '
                         'with init_model')
    _, dataset = find_clip_dataset(config, 'test')
    with DefaultScope.overwrite_default_scope('mmavs'):
        return [TRANSFORMS.build(dict(transform)) for transform in dataset.pipeline]


def _works_in_memory(transform: BaseTransform) -> bool:
    return not hasattr(transform, 'path_key') and type(transform).__name__ not in TARGET_TRANSFORMS

"""Apply image transforms to the frames, masks and mask priors of a clip."""
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
from mmcv.image import imresize
from mmcv.transforms import BaseTransform, TransformBroadcaster
from mmcv.transforms import Pad as MMCVPad
from mmcv.transforms.utils import cache_random_params

from mmavs.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ClipBroadcaster(TransformBroadcaster):
    """Apply image transforms of mmcv and mmseg to the frames, masks and mask priors of a clip.

    Specializes mmcv's ``TransformBroadcaster``: for the nested transforms, each frame with its mask is one sample
    (``img``, ``gt_seg_map``), and each mask prior is one (``img``). Absent keys are skipped: one pipeline serves clips
    with and without ground truth or mask priors.

    Args:
        transforms: Configs of the transforms.
        keys: Keys to transform, of 'frames', 'masks' and 'mask_prior'.
        share_random_params: Whether to draw random numbers once for the whole clip (geometry) instead of once for
            every frame and every mask prior (color jitter).

    Added keys: with shared random numbers and a RandomFlip among the transforms, ``flip`` and ``flip_direction``.

    Raises:
        ValueError: Frames, masks and mask priors that share their geometry differ in size.
    """

    def __init__(self,
                 transforms: list[dict | Callable],
                 keys: Sequence[str] = ('frames', 'masks', 'mask_prior'),
                 share_random_params: bool = False) -> None:
        transforms = [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in transforms]
        super().__init__(transforms, share_random_params=share_random_params)
        self.keys = tuple(keys)

    def transform(self, results: dict) -> dict:
        """Transform the clip."""
        if self.share_random_params:
            self._require_equal_sizes(results)
        samples = self.scatter_sequence(results)
        with cache_random_params(self.transforms) if self.share_random_params else nullcontext():
            samples = [self.transforms(sample) for sample in samples]
        self._gather(samples, results)
        if self.share_random_params:
            results.update({key: samples[0][key] for key in ('flip', 'flip_direction') if key in samples[0]})
        return results

    def scatter_sequence(self, data: dict) -> list[dict]:
        """Make one sample for each frame with its mask, then one for each mask prior."""
        paired = {'img': 'frames', 'gt_seg_map': 'masks'}
        paired = {inner: data[key] for inner, key in paired.items() if key in self.keys and key in data}
        samples = [dict(zip(paired, values)) for values in zip(*paired.values())]
        if 'mask_prior' in self.keys:
            samples += [dict(img=prior) for prior in data.get('mask_prior', ())]
        for sample in samples:
            sample['seg_fields'] = ['gt_seg_map'] if 'gt_seg_map' in sample else []
        return samples

    def _gather(self, samples: list[dict], results: dict) -> None:
        num_frames = len(results['frame_paths'])
        for key, inner in (('frames', 'img'), ('masks', 'gt_seg_map')):
            if key in self.keys and key in results:
                results[key] = [sample[inner] for sample in samples[:num_frames]]
        if 'mask_prior' in self.keys and 'mask_prior' in results:
            results['mask_prior'] = [sample['img'] for sample in samples[-num_frames:]]

    def _require_equal_sizes(self, results: dict) -> None:
        sizes = {key: results[key][0].shape[:2] for key in self.keys if key in results}
        if len(set(sizes.values())) > 1:
            found = ', '.join(f'{key} {height}x{width}' for key, (height, width) in sizes.items())
            raise ValueError(f"clip {results['clip_id']}: shared geometry needs images of one size, found {found} "
                             '(height x width); put ResizeToSquare before, or choose directories of one size')


@TRANSFORMS.register_module()
class Pad(MMCVPad):
    """mmcv's ``Pad``, without a copy of images that have the size already."""

    def transform(self, results: dict) -> dict:
        """Pad the image and its mask."""
        if self.size is not None and results['img'].shape[:2] == tuple(self.size[::-1]):
            return results
        return super().transform(results)


@TRANSFORMS.register_module()
class ResizeToSquare(BaseTransform):
    """Resize a clip to squares with the length of the frames' short side; the aspect ratio is not kept.

    Frames are resized bilinearly, masks and mask priors by nearest neighbor, all with Pillow. It is the first step of
    VCT's training (AVSBench-semantic). Square clips of one size are returned unchanged.

    Modified keys: ``frames``, ``masks``, ``mask_prior``.
    """

    def transform(self, results: dict) -> dict:
        """Resize the clip."""
        side = min(results['frames'][0].shape[:2])
        for key, interpolation in (('frames', 'bilinear'), ('masks', 'nearest'), ('mask_prior', 'nearest')):
            if key in results:
                results[key] = [_resize(image, side, side, interpolation) for image in results[key]]
        return results


@TRANSFORMS.register_module()
class ResizeShortSide(BaseTransform):
    """Resize a clip to a given length of the short side; the long side is rounded down.

    Frames are resized bilinearly, masks and mask priors by nearest neighbor, with Pillow. Followed by mmcv's
    ``CenterCrop``, it is the training geometry of AVSBench's, AVSegFormer's and COMBO's code on AVSBench-semantic.
    (mmcv's ``Resize`` rounds the long side to the nearest pixel.)

    Args:
        size: Length of the short side in pixels.

    Modified keys: ``frames``, ``masks``, ``mask_prior``.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def transform(self, results: dict) -> dict:
        """Resize the clip."""
        for key, interpolation in (('frames', 'bilinear'), ('masks', 'nearest'), ('mask_prior', 'nearest')):
            if key in results:
                height, width = results[key][0].shape[:2]
                short = min(height, width)
                width, height = int(width * self.size / short), int(height * self.size / short)
                results[key] = [_resize(image, width, height, interpolation) for image in results[key]]
        return results


def _resize(image: np.ndarray, width: int, height: int, interpolation: str) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    return imresize(image, (width, height), interpolation=interpolation, backend='pillow')

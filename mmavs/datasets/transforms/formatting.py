"""Generate event labels and pack clips as model inputs."""
import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch import Tensor
from torch.utils.data import get_worker_info

from mmavs.registry import TRANSFORMS
from mmavs.structures import UNLABELLED, AVSDataSample


@TRANSFORMS.register_module()
class GenerateEventLabels(BaseTransform):
    """Label the audio events of each frame, for prototype losses (PAC of VCT).

    Args:
        source: 'category': the one event of the clip's category (S4). 'masks': the classes in the frame's mask at this
            point of the pipeline, with background (0) and without unlabelled pixels (AVSS).
        num_events: Number of events M. None, for the source 'masks': the number of classes of the dataset.
        allow_unknown: Whether classes from M on are events that have no label, for a ``PrototypeBank``; otherwise they
            are an error.

    Added keys: ``gt_events``, (T, M) float32 of 0 and 1; with the source 'masks', 0 for frames without ground truth.

    Raises:
        ValueError: The clip has no category, or an event or class is not below M and must be; M is not known.
    """

    def __init__(self, source: str, num_events: int | None = None, allow_unknown: bool = False) -> None:
        if source not in ('category', 'masks'):
            raise ValueError(f"source is {source!r}, expected 'category' or 'masks'")
        if source == 'category' and num_events is None:
            raise ValueError("num_events is None, expected the number of categories for the source 'category'")
        self.num_events = num_events
        self.source = source
        self.allow_unknown = allow_unknown

    def transform(self, results: dict) -> dict:
        """Add the event labels."""
        if self.source == 'category':
            events = [[results['event_id']]] * len(results['frame_paths'])
        else:
            # OpenCV counts bytes; NumPy's bincount would copy them as 64-bit integers.
            counts = [cv2.calcHist([mask], [0], None, [UNLABELLED + 1], [0, UNLABELLED + 1]).ravel()
                      for mask in results['masks']]
            events = [count[:UNLABELLED].nonzero()[0].tolist() for count in counts]
        num_events = self.num_events or results['num_classes']
        labels = np.zeros((len(events), num_events), np.float32)
        for row, present in zip(labels, events):
            if self.allow_unknown:
                present = [event for event in present if event is None or event < num_events]
            if None in present or max(present, default=0) >= num_events:
                raise ValueError(f"clip {results['clip_id']}: events {present} from its {self.source}, expected "
                                 f'indices below num_events={num_events}')
            row[present] = 1
        results['gt_events'] = labels
        return results

    def silent(self, events: Tensor) -> Tensor:
        """The event labels (T, M) of the frames of ``events`` if no object in them were sounding."""
        silent = torch.zeros_like(events)
        if self.source == 'masks':
            # Frames with an event have labelled pixels, which would all be background.
            silent[:, 0] = events.any(1)
        return silent


@TRANSFORMS.register_module()
class PackClipInputs(BaseTransform):
    """Pack a clip for the model.

    The frames are copied once, into memory that the worker of a data loader shares with the process of the model.

    Returns a dict of

    - ``inputs``: ``frames`` (T, 3, H, W) uint8 RGB, a view of (T, H, W, 3); ``waveform`` (L,) or (2, L), or
      ``log_mel`` (T, 1, 96, 64) float32; if loaded, ``num_samples`` (int, length of the waveform before padding) and
      ``mask_prior`` (T, 3, H, W) uint8;
    - ``data_samples``: an :class:`AVSDataSample` with ``valid``, ``labelled`` and, if loaded, ``gt_sem_seg`` and
      ``gt_events``; its metainfo holds ``clip_id``, ``subset``, ``category``, ``ori_shape``, ``img_shape`` and
      ``out_shape`` (the size of the masks, or ``ori_shape`` without masks).
    """

    def transform(self, results: dict) -> dict:
        """Pack the clip."""
        inputs = dict(frames=_stack(results['frames']).permute(0, 3, 1, 2))
        for key in ('waveform', 'log_mel'):
            if key in results:
                inputs[key] = torch.from_numpy(results[key])
        if 'num_samples' in results:
            inputs['num_samples'] = results['num_samples']
        if 'mask_prior' in results:
            inputs['mask_prior'] = _stack(results['mask_prior']).permute(0, 3, 1, 2)

        sample = AVSDataSample(
            metainfo=dict(
                clip_id=results['clip_id'],
                subset=results['subset'],
                category=results['category'],
                ori_shape=results['ori_shape'],
                img_shape=tuple(inputs['frames'].shape[-2:]),
                out_shape=results['ori_shape']))
        sample.valid = torch.tensor(results['valid'])
        sample.labelled = torch.tensor(results['labelled'])
        if 'masks' in results:
            sample.gt_sem_seg = _stack(results['masks'])
            sample.set_metainfo(dict(out_shape=tuple(sample.gt_sem_seg.shape[-2:])))
        if 'gt_events' in results:
            sample.gt_events = torch.from_numpy(results['gt_events'])
        return dict(inputs=inputs, data_samples=sample)


def _stack(images: list[np.ndarray]) -> Tensor:
    """Copy T uint8 images of one shape to a tensor (T, ...)."""
    if get_worker_info() is None:
        return torch.from_numpy(np.stack(images))
    # The memory that PyTorch would copy the tensor to when it leaves the worker; its default collate does the same.
    storage = torch.UntypedStorage._new_shared(len(images) * images[0].size)
    stacked = torch.empty(0, dtype=torch.uint8).set_(storage, 0, (len(images), *images[0].shape))
    np.stack(images, out=stacked.numpy(), casting='no')
    return stacked

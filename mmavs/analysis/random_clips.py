"""Random clips that fit a model, for timing and complexity."""
import torch
from mmengine.model import BaseModel

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.structures import AVSDataSample


def random_clips(model: BaseModel,
                 size: tuple[int, int],
                 num_clips: int = 1,
                 num_frames: int = 5,
                 num_labelled: int | None = None,
                 num_events: int | None = None,
                 out_size: tuple[int, int] = (224, 224)) -> dict:
    """Make random clips that fit a model, with a rectangle of a random class in every frame.

    Args:
        model: The model.
        size: (H, W) of the frames.
        num_clips: Clips B.
        num_frames: Frames T of each clip, with a second of audio for each log-mel example of a frame.
        num_labelled: Number of frames with ground truth, the first of a clip; None for all of them.
        num_events: Audio events M, for heads with prototypes.
        out_size: (H, W) of the predictions.

    Returns:
        ``dict(inputs=..., data_samples=...)``, a batch of a data loader.
    """
    head, audio_backbone = model.decode_head, model.audio_backbone
    num_samples = num_frames * audio_backbone.examples_per_frame * SAMPLE_RATE
    waveform_shape = (2, num_samples) if audio_backbone.stereo else (num_samples, )
    inputs, samples = [], []
    for _ in range(num_clips):
        clip = dict(
            frames=torch.randint(256, (num_frames, 3, *size), dtype=torch.uint8),
            waveform=torch.rand(waveform_shape) - 0.5)
        if getattr(model, 'mask_prior', None) is not None:
            clip['mask_prior'] = torch.randint(256, (num_frames, 3, *size), dtype=torch.uint8)
        masks = torch.zeros(num_frames, *size, dtype=torch.uint8)
        masks[:, size[0] // 4:size[0] // 2, size[1] // 4:] = torch.randint(
            1, max(2, head.num_classes), (num_frames, 1, 1))
        sample = AVSDataSample(metainfo=dict(img_shape=size, out_shape=out_size))
        sample.valid = torch.ones(num_frames, dtype=torch.bool)
        sample.labelled = torch.arange(num_frames) < (num_frames if num_labelled is None else num_labelled)
        sample.gt_sem_seg = masks
        if num_events is not None:
            sample.gt_events = (torch.rand(num_frames, num_events) < 0.1).float()
        inputs.append(clip)
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)

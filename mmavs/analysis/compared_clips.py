"""Run several models on chosen clips, and read out the maps inside of them that papers show."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.checkpoint.compatibility import load_weights
from mmavs.datasets.transforms import LoadClipFrames
from mmavs.registry import DATASETS, MODELS
from mmavs.structures import UNLABELLED, AVSDataSample
from mmavs.visualization.avs_visualizer import display_frames, draw_spectrogram
from mmavs.visualization.comparison_figure import ComparedClip, FeatureMap, MethodResult


def compare_clips(models: Sequence[tuple[str, Config, str | Path]],
                  clip_ids: Sequence[str],
                  split: str = 'test',
                  device: str | torch.device = 'cpu',
                  with_maps: bool = False,
                  num_queries: int = 2) -> list[ComparedClip]:
    """Run models on clips, each with the pipeline of its config.

    Args:
        models: Name, config and checkpoint of each model. Frames, ground truth and audio are those of the first one's
            dataset.
        clip_ids: Ids of the clips, which the datasets of all configs have.
        split: Data loader of the configs that has the clips: 'train', 'val' or 'test'.
        device: Device of the models.
        with_maps: Whether to read out maps, see :func:`model_maps`.
        num_queries: Queries to show of models with queries.

    Returns:
        One :class:`ComparedClip` for each id, for :func:`mmavs.visualization.comparison_figure.draw_comparison`.

    Raises:
        ValueError: A dataset does not have one of the clips, or a checkpoint does not fit its config.
    """
    clips: list[ComparedClip] = []
    for name, config, checkpoint in models:
        init_default_scope(config.get('default_scope', 'mmavs'))
        dataset = DATASETS.build(config[f'{split}_dataloader'].dataset)
        indices = _find_clips(dataset, clip_ids, name)
        model = MODELS.build(config.model)
        load_weights(model, checkpoint, config)
        model.to(device).eval()
        clips = clips or [_read_clip(dataset, index) for index in indices]
        for clip, index in zip(clips, indices):
            packed = dataset[index]
            masks, maps = _predict(model, packed, dataset.metainfo, with_maps, num_queries)
            if len(masks) != len(clip.frames):
                raise ValueError(f'{name}: clip {clip.clip_id!r} has {len(masks)} frames, but {len(clip.frames)} with '
                                 f'the first model, {models[0][0]}')
            clip.results.append(MethodResult(name, masks, dataset.metainfo, maps))
    return clips


def model_maps(outputs: dict[str, Tensor], classes: Sequence[str], num_queries: int = 2) -> list[FeatureMap]:
    """Make the maps that the raw outputs of a head (``mode='tensor'``) for N frames allow.

    - ``class_logits`` and ``mask_logits`` (VCT): the mask logits of the ``num_queries`` queries of each frame with the
      highest probability of a class, in blue below 0 and red above, on one scale for the whole clip. The caption is
      that probability and, if there are several, the class.
    - ``mask_feature`` and ``mixed_feature`` (AVSegFormer): the mean over the channels before and after the audio mixer,
      each from its minimum to its maximum in the clip.

    Args:
        outputs: The outputs.
        classes: Names of the classes, background first.
        num_queries: Number of queries to show.

    Returns:
        The maps; empty if the head has none of these outputs.
    """
    maps = []
    if 'mask_logits' in outputs and 'class_logits' in outputs:
        maps += _query_maps(outputs['class_logits'].float().cpu(), outputs['mask_logits'].float().cpu(), classes,
                            num_queries)
    if 'mask_feature' in outputs and 'mixed_feature' in outputs:
        for label, key in (('before mixer', 'mask_feature'), ('after mixer', 'mixed_feature')):
            mean = outputs[key].float().mean(1).cpu().numpy()
            span = max(float(mean.max() - mean.min()), 1e-12)
            maps.append(FeatureMap(label, (mean - mean.min()) / span))
    return maps


def _query_maps(class_logits: Tensor, mask_logits: Tensor, classes: Sequence[str],
                num_queries: int) -> list[FeatureMap]:
    # Background is class 0, and the last class is "no object".
    probabilities, labels = class_logits.softmax(2)[..., 1:-1].max(2)
    best = probabilities.argsort(dim=1, descending=True, stable=True)[:, :num_queries]  # (N, num_queries)
    frames = torch.arange(len(best))[:, None]
    logits = mask_logits[frames, best]
    # 0.5 is a logit of 0: the colormap diverges there.
    values = 0.5 + 0.5 * logits / logits.abs().max().clamp(min=1e-12)
    # A single foreground class needs no name.
    names = ['', *([''] if len(classes) == 2 else (f' {name}' for name in classes[1:]))]
    captions = [[f'{probability:.2f}{names[label + 1]}' for label, probability in zip(*row)]
                for row in zip(labels[frames, best].tolist(), probabilities[frames, best].tolist())]
    return [
        FeatureMap(f'query {rank + 1}', values[:, rank].numpy(), 'coolwarm', [row[rank] for row in captions])
        for rank in range(best.shape[1])
    ]


@torch.no_grad()
def _predict(model: nn.Module, packed: dict, dataset_meta: dict, with_maps: bool,
             num_queries: int) -> tuple[np.ndarray, list[FeatureMap]]:
    """Predicted masks and maps of the frames of a clip that are not padding."""
    batch = model.data_preprocessor(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))
    maps = []
    if with_maps:
        maps = model_maps(model(**batch, mode='tensor'), dataset_meta['classes'], num_queries)
    sample, = model(**batch, mode='predict')
    valid = sample.valid.cpu().numpy()
    height, width = batch['inputs']['frames'].shape[-2:]
    for feature_map in maps:
        values = feature_map.values
        rows, columns = (max(1, round(length * size / full)) for length, size, full in zip(
            values.shape[1:], sample.img_shape, (height, width)))
        # Models that treat frames independently compute no padding.
        keep = valid if len(values) == len(valid) else np.ones(len(values), bool)
        feature_map.values = values[keep, :rows, :columns]
        feature_map.captions = [text for text, kept in zip(feature_map.captions, keep) if kept]
    return sample.pred_sem_seg.cpu().numpy()[valid], maps


def _find_clips(dataset: Dataset, clip_ids: Sequence[str], name: str) -> list[int]:
    known = {dataset.get_data_info(index)['clip_id']: index for index in range(len(dataset))}
    for clip_id in clip_ids:
        if clip_id not in known:
            raise ValueError(f'{name}: none of the {len(known)} clips of its dataset has the id {clip_id!r}; the first '
                             f'is {next(iter(known))!r}')
    return [known[clip_id] for clip_id in clip_ids]


def _read_clip(dataset: Dataset, index: int) -> ComparedClip:
    """Read frames at their own size, ground truth and audio of a clip."""
    info, packed = dataset.get_data_info(index), dataset[index]
    sample: AVSDataSample = packed['data_samples']
    valid = sample.valid.numpy()
    frames = [frame for frame, exists in zip(LoadClipFrames()(dict(info))['frames'], valid) if exists]
    gt = None
    if 'gt_sem_seg' in sample and sample.labelled.any():
        gt = torch.where(sample.labelled[:, None, None], sample.gt_sem_seg, UNLABELLED).numpy()[valid]
    seconds_per_frame = dataset.metainfo.get('seconds_per_frame', 1.0)
    audio = {key: packed['inputs'][key] for key in ('waveform', 'log_mel') if key in packed['inputs']}
    return ComparedClip(
        clip_id=info['clip_id'],
        frames=display_frames(frames),
        results=[],
        dataset_meta=dataset.metainfo,
        gt=gt,
        log_mel=draw_spectrogram(len(frames) * seconds_per_frame, rate=SAMPLE_RATE, **audio),
        seconds_per_frame=seconds_per_frame)

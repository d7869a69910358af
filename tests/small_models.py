"""Small versions of the model of any config, and clips for them.

Only sizes change: every constructor argument named in ``SIZES`` (or, for one type, in ``SIZES_OF``) is replaced, even
if the config does not set it.
"""
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch import Tensor, nn

import mmavs.models  # noqa: F401
from mmavs.apis import init_model
from mmavs.models.layers import MultiScaleDeformableAttention
from mmavs.registry import MODELS
from mmavs.structures import PREDICTIONS, AVSDataSample

TINY = Path(__file__).parents[1] / 'configs/avsegformer/avsegformer_tiny_synthetic.py'
FRAME = 64
CHANNELS = (32, 64, 128, 256)
# GroupNorm has 32 groups: with 32 channels it would remove everything that is the same at every pixel.
SIZES = dict(
    embed_dims=64, num_heads=2, ffn_dims=16, num_queries=9, audio_hidden_dims=16, hidden_dims=16, num_layers=1,
    num_encoder_layers=1, num_decoder_layers=2, query_ffn_dims=16, mask_dims=32, in_channels=CHANNELS,
    input_size=(FRAME, FRAME))
SIZES_OF = dict(
    SetCriterion=dict(num_points=64),
    PACLoss=dict(channels=64),
    VCTHead=dict(num_layers=5),
    EASEHead=dict(audio_dims=64, num_clusters=16))
BACKBONES = {
    'SwinTransformer': dict(embed_dims=32, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), drop_path_rate=0.),
    'mmseg.ResNet': dict(stem_channels=8, base_channels=8),
    'PVTv2': dict(
        arch=dict(embed_dims=CHANNELS, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), mlp_ratios=(1, 1, 1, 1)),
        drop_path_rate=0.),
    'mmpretrain.ConvNeXt': dict(arch=dict(depths=(1, 1, 1, 1), channels=CHANNELS), drop_path_rate=0.),
    'SimpleFeaturePyramid': dict(out_channels=64),
    'mmpretrain.TIMMBackbone': dict(model_name='test_efficientnet'),
    'TimmCNN': dict(model_name='test_efficientnet'),
    'mmpretrain.VisionTransformer': dict(
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16), drop_path_rate=0.),
    'ViTEVA02': dict(
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=16), drop_path_rate=0.),
    # Their depth is that of the config, which the blocks of the head belong to.
    'TransformersViT': dict(directory=None),
    'TimmViT': dict(arch=dict(embed_dim=64, num_heads=2)),
    'BlockPVTv2': dict(),
    'VGGish': dict(channels=(4, 4, 8, 8, 8, 16), hidden_dims=16),
    'BEATs': dict(patch_dims=8, embed_dims=16, num_layers=1, num_heads=2, ffn_dims=16, conv_size=8, conv_groups=2),
    'AudioMAE': dict(embed_dims=16, num_layers=1, num_heads=2, ffn_dims=16),
    'AST': dict(
        arch=dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16), directory=None),
}


def small_config(path: str | Path) -> ConfigDict:
    """Small version of the model of a config."""
    init_default_scope('mmavs')
    model = Config.fromfile(path).model
    shrink_backbone(model.backbone)
    if 'mask_prior' in model:
        shrink_backbone(model.mask_prior.backbone)
        # With a reduction of 16, 2 hidden channels could both be 0 in all frames.
        model.mask_prior.update(channels=channels_of(model.backbone), reduction=4)
    shrink_backbone(model.audio_backbone)
    for part in components(model.decode_head):
        shrink(part)
        if 'in_channels' in part:
            part.in_channels = channels_of(model.backbone)
    model.decode_head.audio_channels = MODELS.build(model.audio_backbone).embed_dims
    if 'presence' in model:
        model.presence.update(in_channels=channels_of(model.backbone), audio_channels=model.decode_head.audio_channels)
    if 'audio_channels' in model.backbone:
        model.backbone.audio_channels = model.decode_head.audio_channels
    return model


def shrink_backbone(backbone: ConfigDict) -> None:
    if backbone.type == 'AudioGuidedBackbone':
        return shrink_backbone(backbone.backbone)
    if backbone.type in ('AST', 'TransformersViT'):
        pytest.importorskip('transformers', reason='the optional library transformers is not installed')
    if backbone.type in ('TimmCNN', 'mmpretrain.TIMMBackbone'):
        pytest.importorskip('timm', reason='the optional library timm is not installed')
    if backbone.type == 'SimpleFeaturePyramid':
        shrink_backbone(backbone.backbone)
    if backbone.type == 'TransformersViT':
        # Other patches than the published 14 divide the small frames.
        backbone.arch.update(hidden_size=64, num_attention_heads=2, patch_size=16)
        if 'intermediate_size' in backbone.arch:
            backbone.arch.intermediate_size = 16
    if backbone.type == 'BlockPVTv2':
        depths = (3, 6, 40, 3) if backbone.arch == 'b5' else backbone.arch.depths
        backbone.arch = dict(
            embed_dims=(32, 32, 64, 64), depths=depths, num_heads=(1, 1, 2, 2), mlp_ratios=(1, 1, 1, 1))
    backbone.update(BACKBONES[backbone.type])
    backbone.pop('init_cfg', None)
    if backbone.get('depth') == 18:
        backbone.update(base_channels=32)  # its blocks do not widen by four


def channels_of(backbone: ConfigDict) -> tuple[int, ...]:
    """Channels of the pyramid of a small backbone."""
    if backbone.type == 'AudioGuidedBackbone':
        return channels_of(backbone.backbone)
    if backbone.type in ('TimmCNN', 'mmpretrain.TIMMBackbone'):
        return tuple(MODELS.build(backbone).timm_model.feature_info.channels())
    return (backbone.out_channels, ) * 4 if backbone.type == 'SimpleFeaturePyramid' else CHANNELS


def shrink(part: ConfigDict) -> None:
    accepted, num_queries = inspect.signature(MODELS.get(part.type)).parameters, part.get('num_queries')
    part.update({name: value for name, value in SIZES.items() if name in accepted})
    part.update(SIZES_OF.get(part.type, {}))
    if num_queries is not None:
        part.num_queries = min(num_queries, SIZES['num_queries'])  # a single query is a special case


def components(node: object) -> Iterator[ConfigDict]:
    if isinstance(node, dict) and 'type' in node:
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        yield from components(child)


def make_clip(model, num_frames, labelled=None, valid=None, audio='waveform') -> tuple[dict, AVSDataSample]:
    """One packed clip for a model: a rectangle of the last class in each labelled frame."""
    head = model.decode_head
    inputs = dict(frames=torch.randint(0, 256, (num_frames, 3, FRAME, FRAME), dtype=torch.uint8))
    if model.mask_prior is not None:
        inputs['mask_prior'] = torch.randint(0, 256, (num_frames, 3, FRAME, FRAME), dtype=torch.uint8)
    if audio == 'waveform':
        seconds = num_frames * model.audio_backbone.examples_per_frame
        shape = (2, seconds * 16000) if model.audio_backbone.stereo else (seconds * 16000, )
        inputs['waveform'] = torch.randn(shape) * 0.1
    else:
        inputs['log_mel'] = torch.randn(num_frames, 1, 96, 64)
    sample = AVSDataSample(metainfo=dict(clip_id='clip', img_shape=(FRAME, FRAME), out_shape=(FRAME, FRAME)))
    sample.labelled = torch.tensor(labelled or [True] * num_frames)
    sample.valid = torch.tensor(valid or [True] * num_frames)
    sample.gt_sem_seg = torch.full((num_frames, FRAME, FRAME), 255, dtype=torch.uint8)
    sample.gt_sem_seg[sample.labelled] = 0
    sample.gt_sem_seg[sample.labelled, 10:40, 20:50] = max(1, head.num_classes - 1)
    if getattr(head, 'pac_loss', None) is not None:
        sample.gt_events = torch.zeros(num_frames, head.query_generator.prototypes.num_embeddings)
        sample.gt_events[:, -1] = 1
    return inputs, sample


def preprocess(model, clips, training=False) -> dict:
    inputs, samples = zip(*clips)
    return model.data_preprocessor(dict(inputs=list(inputs), data_samples=list(samples)), training)


def loss_of(model, clips) -> Tensor:
    losses = model(**preprocess(model, clips, training=True), mode='loss')
    return model.parse_losses(losses)[0]


@torch.no_grad()
def predict(model, *clips) -> list[AVSDataSample]:
    return model.eval()(**preprocess(model, clips), mode='predict', outputs=PREDICTIONS)


def randomize_constant_init(model: nn.Module) -> None:
    """Randomize parts that are initialized as identity or constant: otherwise no gradient would pass them."""
    for module in model.modules():
        if isinstance(module, MultiScaleDeformableAttention):
            # Initial deformable attention does not depend on its queries.
            nn.init.normal_(module.sampling_offsets.weight, std=0.1)
            nn.init.normal_(module.attention_weights.weight, std=0.1)
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and not module.weight.any():
            nn.init.ones_(module.weight)


def audio_sensitive_model() -> nn.Module:
    """A small AVSegFormer that depends on its audio, with windows of three frames, of which the last is moved back."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model = init_model(TINY, device='cpu')
    for parameter in model.audio_backbone.parameters():
        parameter.data.mul_(3)  # as initialized, audio changes the prediction by 1e-5, now by 0.1
    model.independent_frames = False
    model.dataset_meta['clip_length'] = 3
    return model

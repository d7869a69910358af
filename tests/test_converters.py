"""Checkpoints: converters account for every key, loading is strict and executes nothing."""
import argparse
import math
import os
import pickle
import runpy
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmseg.models.backbones.swin import PatchMerging, WindowMSA
from small_models import small_config
from torch import nn

from mmavs.apis import convert_checkpoint, export_checkpoint, init_model
from mmavs.checkpoint.compatibility import check_state_dict, load_weights, with_own_classifier
from mmavs.checkpoint.converters import CONVERTERS, TRAITS, Converter, Rename, Traits, apply_rules, register
from mmavs.checkpoint.converters.vct import convert_vct
from mmavs.checkpoint.fetching import DownloadError
from mmavs.checkpoint.reading import extract_state_dict, read_checkpoint
from mmavs.registry import MODELS

CONVERT = Path(__file__).parents[1] / 'tools/model_converters/convert.py'


def linear(name, out, channels, bias=True):
    return {f'{name}.weight': (out, channels)} | ({f'{name}.bias': (out, )} if bias else {})


def conv(name, out, channels, size, bias=True):
    return {f'{name}.weight': (out, channels, size, size)} | ({f'{name}.bias': (out, )} if bias else {})


def norm(name, channels):
    return {f'{name}.weight': (channels, ), f'{name}.bias': (channels, )}


def attention(name, channels):
    return {f'{name}.in_proj_weight': (3 * channels, channels), f'{name}.in_proj_bias': (3 * channels, )} | linear(
        f'{name}.out_proj', channels, channels)


def swin_shapes(prefix='', embed_dims=8, window=2):
    """Names and shapes of a published Swin Transformer with one block in each stage."""
    shapes = conv(f'{prefix}patch_embed.proj', embed_dims, 3, 4) | norm(f'{prefix}patch_embed.norm', embed_dims)
    for stage in range(4):
        dims = embed_dims * 2**stage
        block = f'{prefix}layers.{stage}.blocks.0.'
        shapes |= norm(f'{block}norm1', dims) | norm(f'{block}norm2', dims)
        shapes |= linear(f'{block}attn.qkv', 3 * dims, dims) | linear(f'{block}attn.proj', dims, dims)
        shapes |= linear(f'{block}mlp.fc1', 4 * dims, dims) | linear(f'{block}mlp.fc2', dims, 4 * dims)
        shapes[f'{block}attn.relative_position_bias_table'] = ((2 * window - 1)**2, 1)
        shapes[f'{block}attn.relative_position_index'] = (window**2, window**2)
        if stage < 3:
            shapes |= norm(f'{prefix}layers.{stage}.downsample.norm', 4 * dims)
            shapes |= linear(f'{prefix}layers.{stage}.downsample.reduction', 2 * dims, 4 * dims, bias=False)
    return shapes


def vggish_shapes(prefix='', channels=(64, 128, 256, 256, 512, 512)):
    shapes, previous = {}, 1
    for index, width in zip((0, 3, 6, 8, 11, 13), channels):
        shapes |= conv(f'{prefix}features.{index}', width, previous, 3)
        previous = width
    for index, (out, width) in zip((0, 2, 4), ((4096, 24 * previous), (4096, 4096), (128, 4096))):
        shapes |= linear(f'{prefix}embeddings.{index}', out, width)
    return shapes


def pvt_shapes(prefix, embed_dims=(8, 16, 32, 64), reductions=(8, 4, 2, 1)):
    """Names and shapes of a PVTv2 with one block in each stage."""
    shapes, previous = {}, 3
    for stage, (dims, reduction) in enumerate(zip(embed_dims, reductions), start=1):
        block = f'{prefix}block{stage}.0.'
        shapes |= conv(f'{prefix}patch_embed{stage}.proj', dims, previous, 7 if stage == 1 else 3)
        shapes |= norm(f'{prefix}patch_embed{stage}.norm', dims) | norm(f'{prefix}norm{stage}', dims)
        shapes |= norm(f'{block}norm1', dims) | norm(f'{block}norm2', dims)
        shapes |= linear(f'{block}attn.q', dims, dims) | linear(f'{block}attn.kv', 2 * dims, dims)
        shapes |= linear(f'{block}attn.proj', dims, dims)
        if reduction > 1:
            shapes |= conv(f'{block}attn.sr', dims, dims, reduction) | norm(f'{block}attn.norm', dims)
        shapes |= linear(f'{block}mlp.fc1', 4 * dims, dims) | linear(f'{block}mlp.fc2', dims, 4 * dims)
        shapes |= conv(f'{block}mlp.dwconv.dwconv', 4 * dims, 1, 3)
        previous = dims
    return shapes


def detectron2_resnet_shapes(prefix, base=2, blocks=(3, 4, 6, 3)):
    """Names and shapes of a ResNet-50 in detectron2: bottlenecks, each convolution with its frozen BatchNorm inside."""

    def conv_norm(name, out, channels, size):
        statistics = ('weight', 'bias', 'running_mean', 'running_var')
        return conv(name, out, channels, size, bias=False) | {f'{name}.norm.{x}': (out, ) for x in statistics}

    shapes, previous = conv_norm(f'{prefix}stem.conv1', base, 3, 7), base
    for stage, depth in enumerate(blocks):
        inner, out = base * 2**stage, 4 * base * 2**stage
        for i in range(depth):
            block = f'{prefix}res{stage + 2}.{i}.'
            shapes |= conv_norm(f'{block}conv1', inner, previous, 1) | conv_norm(f'{block}conv2', inner, inner, 3)
            shapes |= conv_norm(f'{block}conv3', out, inner, 1)
            if i == 0:
                shapes |= conv_norm(f'{block}shortcut', out, previous, 1)
            previous = out
    return shapes


def backbone_shapes(backbone):
    if backbone == 'pvt-v2-b5':
        return pvt_shapes('backbone.')
    if backbone == 'r50':
        return detectron2_resnet_shapes('backbone.')
    output_norms = [norm(f'backbone.norm{i}', 8 * 2**i) for i in range(4)]
    return swin_shapes('backbone.') | dict(pair for shapes in output_norms for pair in shapes.items())


def vct_shapes(num_classes, num_prototypes, mask_prior=True, backbone='swin-b'):
    """Names and shapes of the released VCT, with few channels and 32x32 frames."""
    dims, levels = 32, (8, 16, 32, 64)
    shapes = backbone_shapes(backbone)
    if mask_prior:
        shapes |= {f'pre_sam_{key}': shape for key, shape in shapes.items()}
        for level, channels in enumerate(levels):
            gate = f'scale_factor_module.{level}.'
            shapes |= linear(f'{gate}fc1', channels // 4, channels) | linear(f'{gate}fc2', channels, channels // 4)
    shapes |= {key: shape for key, shape in vggish_shapes('audio_backbone.', VGGISH_CHANNELS).items() if 'feat' in key}
    shapes |= linear('audio_backbone.embeddings.0', 4, 4)
    head = 'sem_seg_head.'
    for index, channels in zip((0, 2, 4), ((40, 6), (40, 40), (dims, 40))):
        shapes |= linear(f'{head}audio_transformation.embeddings.{index}', *channels)
    decoder = f'{head}pixel_decoder.'
    for index, channels in enumerate(levels[:0:-1]):
        shapes |= conv(f'{decoder}input_proj.{index}.0', dims, channels, 1)
        shapes |= norm(f'{decoder}input_proj.{index}.1', dims)
    shapes[f'{decoder}transformer.level_embed'] = (3, dims)
    layer = f'{decoder}transformer.encoder.layers.0.'
    for name, out in dict(sampling_offsets=192, attention_weights=96, value_proj=dims, output_proj=dims).items():
        shapes |= linear(f'{layer}self_attn.{name}', out, dims)
    shapes |= norm(f'{layer}norm1', dims) | norm(f'{layer}norm2', dims)
    shapes |= linear(f'{layer}linear1', 48, dims) | linear(f'{layer}linear2', dims, 48)
    shapes |= conv(f'{decoder}mask_features', dims, dims, 1)
    shapes |= conv(f'{decoder}adapter_1', dims, levels[0], 1, bias=False) | norm(f'{decoder}adapter_1.norm', dims)
    shapes |= conv(f'{decoder}layer_1', dims, dims, 3, bias=False) | norm(f'{decoder}layer_1.norm', dims)
    predictor = f'{head}predictor.'
    cross, own, ffn = (f'{predictor}transformer_{x}_layers.0.' for x in ('cross_attention', 'self_attention', 'ffn'))
    shapes |= attention(f'{cross}multihead_attn', dims) | attention(f'{own}self_attn', dims)
    shapes |= norm(f'{cross}norm', dims) | norm(f'{own}norm', dims) | norm(f'{ffn}norm', dims)
    shapes |= linear(f'{ffn}linear1', 56, dims) | linear(f'{ffn}linear2', dims, 56)
    shapes |= norm(f'{predictor}decoder_norm', dims)
    for name, rows in (('query_feat', 5), ('query_embed', 5), ('level_embed', 4)):
        shapes[f'{predictor}{name}.weight'] = (rows, dims)
    shapes |= linear(f'{predictor}class_embed', num_classes + 1, dims)
    for index in range(3):
        shapes |= linear(f'{predictor}mask_embed.layers.{index}', dims, dims)
    block = f'{predictor}visual_query_block.'
    for index, size in ((0, 1), (2, 3), (4, 1)):
        shapes |= conv(f'{block}pre_proj.{index}', dims, dims, size)
    for index, channels in enumerate(((dims, 64), (dims, dims), (5, dims))):
        shapes |= linear(f'{block}query_mixer.layers.{index}', *channels)
    for name in ('q_proj', 'k_proj', 'v_proj', 'proj'):
        shapes |= linear(f'{block}assign_attn.{name}', dims, dims)
    if num_prototypes:
        shapes[f'{block}prototype.weight'] = (num_prototypes, dims)
        shapes |= attention(f'{block}pre_attn.multihead_attn', dims) | norm(f'{block}pre_attn.norm', dims)
        shapes |= linear(f'{predictor}audio_proj', dims, dims, bias=False)
        shapes |= linear(f'{predictor}proto_proj', dims, dims, bias=False)
        shapes['criterion.logit_scale'] = ()
    shapes['criterion.empty_weight'] = (num_classes + 1, )
    return shapes


VGGISH_CHANNELS = (2, 2, 4, 4, 6, 6)


def randoms(shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


BACKBONES = {
    'swin-b': dict(
        type='mmseg.SwinTransformer', embed_dims=8, depths=(1, ) * 4, num_heads=(1, ) * 4, window_size=2),
    'pvt-v2-b5': dict(
        type='PVTv2',
        arch=dict(embed_dims=(8, 16, 32, 64), depths=(1, ) * 4, num_heads=(1, ) * 4, mlp_ratios=(4, ) * 4)),
    'r50': dict(type='mmseg.ResNet', depth=50, stem_channels=2, base_channels=2),
}


def vct_config(num_classes=2, num_prototypes=None, mask_prior=True, backbone='swin-b'):
    backbone = BACKBONES[backbone]
    head = dict(
        type='VCTHead',
        num_classes=num_classes,
        input_size=(32, 32),
        audio_channels=6,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder', in_channels=(8, 16, 32, 64), embed_dims=32, num_layers=1, ffn_dims=48),
        criterion=dict(type='SetCriterion'),
        audio_hidden_dims=40,
        num_queries=5,
        num_layers=1,
        ffn_dims=56)
    if num_prototypes:
        head.update(num_prototypes=num_prototypes, pac_loss=dict(type='PACLoss'))
    return dict(
        type='AudioVisualSegmentor',
        backbone=backbone,
        audio_backbone=dict(type='VGGish', output='conv', channels=VGGISH_CHANNELS),
        mask_prior=dict(type='MaskPriorBranch', backbone=backbone, channels=(8, 16, 32, 64), reduction=4)
        if mask_prior else None,
        decode_head=head)


def vct_model(*args, **kwargs):
    init_default_scope('mmavs')
    return MODELS.build(vct_config(*args, **kwargs))


SUBSETS = pytest.mark.parametrize(('subset', 'num_classes', 'num_prototypes'), [('ms3', 2, None), ('s4', 2, 23),
                                                                               ('avss', 71, 71)])


@SUBSETS
def test_vct_of_every_subset_fills_its_model(subset, num_classes, num_prototypes):
    weights = randoms(vct_shapes(num_classes, num_prototypes))
    conversion = CONVERTERS['vct'].convert(weights)
    vct_model(num_classes, num_prototypes).load_state_dict(conversion.state_dict, strict=True)
    assert conversion.used.keys() | conversion.dropped.keys() == weights.keys()
    assert len(set(conversion.used.values())) == len(conversion.used)
    assert conversion.state_dict.keys() == set(conversion.used.values()) | conversion.added.keys()
    assert all('index' in key or 'embeddings' in key or 'empty_weight' in key for key in conversion.dropped)


@pytest.mark.parametrize('mask_prior', [False, True])
@pytest.mark.parametrize('backbone', BACKBONES)
def test_vct_with_each_backbone_of_the_released_code_fills_its_model(backbone, mask_prior):
    weights = randoms(vct_shapes(2, 23, mask_prior, backbone))
    conversion = CONVERTERS['vct'].convert(weights)
    model = vct_model(2, 23, mask_prior, backbone)
    check_state_dict(model, conversion.state_dict, 'vct')
    model.load_state_dict(conversion.state_dict, strict=True)
    assert conversion.used.keys() | conversion.dropped.keys() == weights.keys()


def test_detectron2_resnet_is_named_as_in_mmseg():
    weights = randoms(vct_shapes(2, 23, True, 'r50'))
    used = CONVERTERS['vct'].convert(weights).used
    assert used['backbone.stem.conv1.weight'] == 'backbone.conv1.weight'
    assert used['backbone.stem.conv1.norm.bias'] == 'backbone.bn1.bias'
    assert used['backbone.res3.1.conv2.weight'] == 'backbone.layer2.1.conv2.weight'
    assert used['pre_sam_backbone.res5.2.conv3.norm.running_var'] == 'mask_prior.backbone.layer4.2.bn3.running_var'
    assert used['backbone.res4.0.shortcut.weight'] == 'backbone.layer3.0.downsample.0.weight'
    assert used['backbone.res2.0.shortcut.norm.running_mean'] == 'backbone.layer1.0.downsample.1.running_mean'


def test_vct_target_is_the_config_of_its_subset_size_and_branch():
    weights = convert_vct(randoms(vct_shapes(2, 23))).state_dict
    assert CONVERTERS['vct'].target(weights) == 'vct/vct_swin-b-32_s4_mask-prior.py'
    weights['decode_head.query_generator.query_mixer.layers.0.weight'] = torch.zeros(1, 9216)
    assert CONVERTERS['vct'].target(weights) == 'vct/vct_swin-b_s4_mask-prior.py'


@pytest.mark.parametrize('mask_prior', [False, True])
@pytest.mark.parametrize('backbone', BACKBONES)
def test_every_vct_at_224_has_a_config(backbone, mask_prior):
    for num_prototypes, subset in ((23, 's4'), (71, 'avss'), (None, 'ms3')):
        weights = convert_vct(randoms(vct_shapes(2, num_prototypes, mask_prior, backbone))).state_dict
        weights['decode_head.query_generator.query_mixer.layers.0.weight'] = torch.zeros(1, 56 * 56)
        target = CONVERTERS['vct'].target(weights)
        assert backbone in target and f'-224_{subset}' in target and ('mask-prior' in target) == mask_prior
        config = Config.fromfile(CONVERT.parents[2] / 'configs' / target)
        assert config.model.decode_head.input_size == (224, 224)
        assert config.model.backbone.type.split('.')[-1] == BACKBONES[backbone]['type'].split('.')[-1]


@SUBSETS
def test_the_config_of_a_published_vct_exists(subset, num_classes, num_prototypes):
    weights = convert_vct(randoms(vct_shapes(num_classes, num_prototypes))).state_dict
    weights['decode_head.query_generator.query_mixer.layers.0.weight'] = torch.zeros(1, 9216)
    target = CONVERTERS['vct'].target(weights)
    assert target.endswith(f'_{subset}_mask-prior.py') and (CONVERT.parents[2] / 'configs' / target).is_file()


def test_an_unknown_key_is_an_error_that_names_it():
    weights = randoms(vct_shapes(2, None)) | {'sem_seg_head.predictor.surprise.weight': torch.zeros(1)}
    with pytest.raises(ValueError, match='sem_seg_head.predictor.surprise.weight'):
        convert_vct(weights)


def test_patch_merging_is_reordered_as_mmseg_merges():
    torch.manual_seed(0)
    weights = {
        key: x
        for key, x in randoms(swin_shapes()).items() if key.startswith('layers.0.downsample')
    }
    published_norm, published_reduction = nn.LayerNorm(32), nn.Linear(32, 16, bias=False)
    published_norm.load_state_dict({x: weights[f'layers.0.downsample.norm.{x}'] for x in ('weight', 'bias')})
    published_reduction.load_state_dict({'weight': weights['layers.0.downsample.reduction.weight']})
    x = torch.randn(1, 8, 4, 6)
    blocks = [x[:, :, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
    expected = published_reduction(published_norm(torch.cat(blocks, 1).permute(0, 2, 3, 1))).flatten(1, 2)

    merging = PatchMerging(8, 16)
    converted = CONVERTERS['swin'].convert(weights).state_dict
    merging.load_state_dict({key.removeprefix('stages.0.downsample.'): x for key, x in converted.items()})
    output, size = merging(x.flatten(2).transpose(1, 2), (4, 6))
    assert size == (2, 3)
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize('window', [2, 7, 12])
def test_position_indices_are_those_of_mmseg(window):
    shapes = {'backbone.layers.0.blocks.0.attn.relative_position_bias_table': ((2 * window - 1)**2, 2)}
    index = convert_vct(randoms(shapes)).state_dict['backbone.stages.0.blocks.0.attn.w_msa.relative_position_index']
    torch.testing.assert_close(index, WindowMSA(4, 2, (window, window)).relative_position_index)


def test_swin_classifier_and_masks_are_dropped(tmp_path):
    weights = randoms(swin_shapes() | linear('head', 10, 64) | norm('norm', 64) | {
        'layers.0.blocks.0.attn_mask': (4, 4, 4),
    })
    pickle.dump(dict(model=weights, matching_heuristics=True), (tmp_path / 'swin.pkl').open('wb'))
    conversion = convert_checkpoint('swin', tmp_path / 'swin.pkl', tmp_path / 'swin.pth')
    names = {key.split('.')[-1] for key in conversion.dropped}
    assert names == {'weight', 'bias', 'attn_mask', 'relative_position_index'} and len(conversion.dropped) == 9

    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'swin.pth'))
    config = dict(CONVERTERS['swin'].target(conversion.state_dict), init_cfg=init_cfg)
    assert config['depths'] == [1] * 4 and config['window_size'] == 2 and config['num_heads'] == [1] * 4
    backbone = MODELS.build(config)
    backbone.init_weights()
    bias = backbone.stages[1].blocks[0].ffn.layers[1].bias
    torch.testing.assert_close(bias, weights['layers.1.blocks.0.mlp.fc2.bias'])


def test_a_wrong_shape_is_an_error_when_converting(tmp_path):
    weights = randoms(swin_shapes() | {'layers.2.blocks.0.mlp.fc1.bias': (7, )})
    torch.save(dict(model=weights), tmp_path / 'swin.pth')
    with pytest.raises(ValueError, match=r'stages.2.blocks.0.ffn.layers.0.0.bias is \(7,\)'):
        convert_checkpoint('swin', tmp_path / 'swin.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_converted_model_has_the_training_settings_of_the_named_config(tmp_path):
    torch.save(randoms(vct_shapes(2, None)), tmp_path / 'published.pth')
    data = CONVERT.parents[2] / 'configs/_base_/datasets'
    for name, num_classes in (('ms3_224', 2), ('s4_512_plain', 2), ('avss_224', 71)):
        (tmp_path / f'{name}.py').write_text(f"_base_ = '{data}/{name}.py'\nmodel = {vct_config(num_classes)}")
    convert_checkpoint('vct', tmp_path / 'published.pth', tmp_path / 'x.pth', tmp_path / 'ms3_224.py')
    meta = read_checkpoint(tmp_path / 'x.pth')['meta']
    assert meta['trained_for'] == dict(
        config='ms3_224', input_size=[224, 224], classes=['background', 'sounding object'])
    init_model(tmp_path / 'ms3_224.py', tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='frames of 224x224 .* the config has 512x512'):
        init_model(tmp_path / 's4_512_plain.py', tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r'class_embed.weight has 3 rows = 2 classes, the config says 71'):
        convert_checkpoint('vct', tmp_path / 'published.pth', tmp_path / 'y.pth', tmp_path / 'avss_224.py')
    assert not (tmp_path / 'y.pth').exists()


def test_converted_backbone_has_no_training_settings(tmp_path):
    torch.save(randoms(swin_shapes()), tmp_path / 'swin.pth')
    (tmp_path / 'vct.py').write_text(f'model = {vct_config(mask_prior=False)}')
    with pytest.raises(ValueError, match='holds the weights of a backbone alone'):
        convert_checkpoint('swin', tmp_path / 'swin.pth', tmp_path / 'x.pth', tmp_path / 'vct.py')


def test_vggish_keeps_its_names_and_drops_the_post_processor():
    weights = randoms({key: (1, ) for key in vggish_shapes()} | {'pproc.pca_means': (128, 1)})
    conversion = CONVERTERS['vggish'].convert(weights)
    assert conversion.dropped.keys() == {'pproc.pca_means'}
    assert conversion.used == {key: key for key in vggish_shapes()}


def test_the_tool_reports_every_key_and_writes_tensors_only(tmp_path, monkeypatch, capsys):
    torch.save(dict(model=randoms(swin_shapes())), tmp_path / 'swin.pth')
    monkeypatch.setenv('COLUMNS', '200')
    command = [str(CONVERT), '--from', 'swin', str(tmp_path / 'swin.pth'), str(tmp_path / 'out.pth')]
    monkeypatch.setattr(sys, 'argv', command)
    runpy.run_path(str(CONVERT), run_name='__main__')
    output = capsys.readouterr().out
    used = len(swin_shapes()) - 4
    assert f'{used} used, 4 dropped' in output and 'constant, computed from the window size' in output
    saved = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert len(saved['state_dict']) == used and saved['meta']['source_file'] == 'swin.pth'


# ---- reading and loading ----


class Tiny(nn.Module):

    def __init__(self, num_classes=2):
        super().__init__()
        self.class_embed = nn.Linear(4, num_classes + 1)


class Malicious:

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path), )


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'pickle'])
@pytest.mark.parametrize('load', [read_checkpoint, lambda path: CheckpointLoader.load_checkpoint(str(path))])
def test_a_malicious_checkpoint_is_refused_and_nothing_runs(tmp_path, kind, load):
    content = dict(state_dict=Tiny().state_dict(), extra=Malicious(tmp_path / 'executed'))
    path = tmp_path / 'bad.pth'
    if kind == 'pickle':
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == 'zip')
    with pytest.raises(pickle.UnpicklingError, match=r'bad.pth: refused, .*mkdir') as error:
        load(path)
    assert 'nothing was executed' in str(error.value)
    assert not (tmp_path / 'executed').exists()


def test_arrays_and_plain_pickles_are_read(tmp_path):
    content = dict(model={'a': np.ones((2, 3), np.float32), 'b': torch.ones(2)}, matching_heuristics=True)
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(content))
    weights = extract_state_dict(read_checkpoint(tmp_path / 'x.pkl'), 'x.pkl')
    assert weights['a'].shape == (2, 3) and weights['b'].shape == (2, )


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'empty', 'html'])
def test_a_damaged_checkpoint_is_an_error_that_names_it(tmp_path, kind):
    path = tmp_path / 'damaged.pth'
    torch.save(dict(state_dict=Tiny().state_dict()), path, _use_new_zipfile_serialization=kind == 'zip')
    content = dict(empty=b'', html=b'<html>404</html>').get(kind, path.read_bytes()[:path.stat().st_size * 2 // 3])
    path.write_bytes(content)
    with pytest.raises(ValueError, match='damaged.pth: not a readable checkpoint'):
        read_checkpoint(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='absent.pth'):
        load_weights(Tiny(), tmp_path / 'absent.pth')


def test_a_file_without_weights_is_named(tmp_path):
    torch.save(dict(epoch=3), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match="x.pth: 'epoch' is a int, expected a dict of tensors"):
        load_weights(Tiny(), tmp_path / 'x.pth')


def prefixed(prefix):
    return lambda weights: {prefix + key: x for key, x in weights.items()}


LAYOUTS = {
    'distributed': prefixed('module.'),
    'torch.compile': prefixed('_orig_mod.'),
    'distributed torch.compile': prefixed('module._orig_mod.'),
    'compiled part': lambda weights: {key.replace('.', '._orig_mod.'): x for key, x in weights.items()},
    'Lightning': lambda weights: dict(state_dict=prefixed('model.')(weights), epoch=3),
    'tutorial': lambda weights: dict(model_state_dict=weights, loss=0.1),
    'net': lambda weights: dict(net=weights, acc=80),
    'weights': lambda weights: dict(weights=weights),
    'thop': lambda weights: weights | {'total_ops': torch.zeros(1), 'class_embed.total_params': torch.zeros(1)},
    'Namespace': lambda weights: dict(model=weights, args=argparse.Namespace(lr=1)),
    'safetensors': None,
}


def initialize(path):
    """Load by ``init_cfg``, as a config does for a part of a model."""

    class Part(BaseModule):

        def __init__(self):
            super().__init__(dict(type='Pretrained', checkpoint=str(path)))
            self.class_embed = nn.Linear(4, 3)

    part = Part()
    part.init_weights()
    return part


def load(path):
    model = Tiny()
    load_weights(model, path)
    return model


@pytest.mark.parametrize('reader', [load, initialize])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_weights_load_from_the_layouts_of_other_programs(tmp_path, layout, reader):
    source, path = Tiny(), tmp_path / 'x.pth'
    if layout == 'safetensors':
        pytest.importorskip('safetensors.torch').save_file(source.state_dict(), path)
    else:
        torch.save(LAYOUTS[layout](source.state_dict()), path)
    torch.testing.assert_close(reader(path).class_embed.weight, source.class_embed.weight, rtol=0, atol=0)


def test_truncated_safetensors_file_is_named(tmp_path):
    path = tmp_path / 'x.safetensors'
    pytest.importorskip('safetensors.torch').save_file(Tiny().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match='x.safetensors: not a readable checkpoint'):
        read_checkpoint(path)


def test_unknown_prefix_is_named(tmp_path):
    torch.save(prefixed('student.')(Tiny().state_dict()) | {'teacher.x': torch.zeros(1)}, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match="2 of its 3 keys fit without the prefix 'student.'"):
        load(tmp_path / 'x.pth')


@pytest.mark.parametrize('value', [math.nan, math.inf])
@pytest.mark.parametrize('reader', [load, initialize, lambda path: convert_checkpoint('vct', path, 'converted.pth')])
def test_weights_of_a_diverged_training_are_refused(tmp_path, reader, value):
    weights = Tiny().state_dict()
    weights['class_embed.bias'][1] = value
    torch.save(dict(state_dict=weights), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='x.pth: class_embed.bias holds 1 NaN or infinite values of 3'):
        reader(tmp_path / 'x.pth')


def save_as(kind, weights, path):
    if kind == 'safetensors':
        pytest.importorskip('safetensors.torch').save_file(weights, path)
    elif kind == 'arrays':
        path.write_bytes(pickle.dumps({key: x.numpy() for key, x in weights.items()}))
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=kind == 'zip')


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'arrays', 'safetensors'])
@pytest.mark.parametrize('reader', [load, initialize, *(
    lambda path, source=source: convert_checkpoint(source, path, 'converted.pth') for source in sorted(CONVERTERS)),
    lambda path: export_checkpoint('vct', path, 'exported.pth')])
def test_complex_weights_are_refused_by_every_load_and_converter(tmp_path, kind, reader):
    weights = Tiny().state_dict()
    save_as(kind, {key: x * 1j for key, x in weights.items()}, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r'x.pth: class_embed\.\w+ holds (12|3) complex values, as do 1 more'):
        reader(tmp_path / 'x.pth')


@pytest.mark.parametrize('kind', ['zip', 'arrays', 'safetensors'])
@pytest.mark.parametrize('dtype', [torch.uint16, torch.uint64])
def test_weights_of_types_that_no_layer_has_are_refused(tmp_path, kind, dtype):
    save_as(kind, {'x': torch.ones(2).to(dtype), 'y': torch.ones(2)}, tmp_path / 'x.pth')
    with pytest.raises((ValueError, pickle.UnpicklingError), match=f'x.pth: .*{dtype}'):
        load(tmp_path / 'x.pth')


def test_arrays_that_are_no_tensors_are_named(tmp_path):
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps({'x': np.array(['text'])}))
    with pytest.raises(ValueError, match="x.pkl: 'x' is a <U4 array, expected a dict of tensors"):
        load(tmp_path / 'x.pkl')
    (tmp_path / 'y.pkl').write_bytes(pickle.dumps({'x': np.ones(2, np.longdouble)}))
    assert extract_state_dict(read_checkpoint(tmp_path / 'y.pkl'), 'y')['x'].dtype == torch.float64


def test_integers_in_place_of_floats_are_refused_and_whole_floats_of_indices_are_not(tmp_path):
    torch.save({key: x.to(torch.int8) for key, x in Tiny().state_dict().items()}, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='other types: class_embed.weight is torch.int8, the model has torch.float32'):
        load(tmp_path / 'x.pth')
    norm = nn.BatchNorm1d(2)
    check_state_dict(norm, {key: x.half() for key, x in norm.state_dict().items()}, 'half')
    with pytest.raises(ValueError, match='num_batches_tracked is torch.float32, the model has torch.int64'):
        check_state_dict(norm, dict(norm.state_dict(), num_batches_tracked=torch.tensor(0.5)), 'x')


def test_two_weights_of_one_name_are_refused(tmp_path):
    torch.save({'x._orig_mod.y': torch.ones(1), 'x.y': torch.zeros(1)}, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=r'x\.pth: holds x\.y twice'):
        load(tmp_path / 'x.pth')


@pytest.mark.parametrize('source, shapes, changes, message', [
    ('swin', swin_shapes(), {'layers.0.downsample.reduction.weight': (0, 32)}, 'other shapes: .*reduction.weight is '),
    ('swin', swin_shapes(), {'layers.0.downsample.reduction.weight': (4, )}, r'\(4,\), which cannot be converted'),
    ('swin', swin_shapes(), {'layers.0.blocks.0.attn.relative_position_bias_table': (0, )}, 'do not describe a model'),
    ('swin', swin_shapes(), {'layers.0.blocks.99999999.norm1.bias': (8, )}, r'100000000, 1, 1, 1\] blocks'),
    ('swin', swin_shapes(), {'patch_embed.proj.bias': None}, "do not describe a model .*KeyError"),
    ('pvtv2', pvt_shapes(''), {'block2.0.mlp.fc1.weight': (4, 0)}, 'do not describe a model .*ZeroDivisionError'),
    ('pvtv2', pvt_shapes(''), {'block2.99999999.norm1.bias': (8, )}, 'blocks by their names'),
    ('audiomae', {}, {'cls_token': (1, )}, 'do not describe a model .*IndexError')])
def test_shapes_and_names_that_describe_no_model_are_named(tmp_path, source, shapes, changes, message):
    weights = randoms({key: shape for key, shape in {**shapes, **changes}.items() if shape is not None})
    torch.save(weights, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match=message):
        convert_checkpoint(source, tmp_path / 'x.pth', tmp_path / 'out.pth')
    assert not (tmp_path / 'out.pth').exists()


def test_converted_file_is_of_safetensors_if_its_name_says_so(tmp_path):
    torch.save(randoms(swin_shapes()), tmp_path / 'swin.pth')
    conversion = convert_checkpoint('swin', tmp_path / 'swin.pth', tmp_path / 'out.safetensors')
    weights = pytest.importorskip('safetensors.torch').load_file(tmp_path / 'out.safetensors')
    assert all(torch.equal(weights[key], x) for key, x in conversion.state_dict.items())
    assert read_checkpoint(tmp_path / 'out.safetensors')['meta']['source'] == 'swin'
    convert_checkpoint('swin', tmp_path / 'swin.pth', tmp_path / 'out.pth')
    with pytest.raises(ValueError, match='out.safetensors: the code of the authors reads files of torch.save'):
        export_checkpoint('swin', tmp_path / 'out.pth', tmp_path / 'out.safetensors')


def closed_port():
    """A port of this machine without a server."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def test_failed_download_names_the_url_and_the_place_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    url, place = f'http://127.0.0.1:{closed_port()}/models/x.pth', tmp_path / 'checkpoints/x.pth'
    with pytest.raises(DownloadError, match=f'cannot download {url} .*refused.*: put the file at {place}'):
        load(url)
    torch.save(Tiny().state_dict(), place)
    load(url)


@pytest.mark.parametrize('name', [
    'vct/vct', 'vct/act', 'combo/combo', 'avsegformer/avsegformer', 'tpavi/tpavi', 'ravs/ravs'])
def test_a_new_classifier_keeps_exactly_the_weights_that_depend_on_the_classes(name):

    def build(num_classes):
        model = small_config(CONVERT.parents[2] / f'configs/{name}_tiny_synthetic.py')
        model.decode_head.num_classes = num_classes
        if model.decode_head.get('num_prototypes'):
            model.decode_head.num_prototypes = num_classes
        return MODELS.build(model)

    model, source = build(4), build(9).state_dict()
    own = model.state_dict()
    weights, new = with_own_classifier(model, source)
    assert set(new) == {key for key, x in own.items() if x.shape != source[key].shape}
    assert all(weights[key] is source[key] for key in source if key not in new)
    check_state_dict(model, weights, 'x.pth')


def test_other_number_of_classes_is_reported(tmp_path):
    torch.save(dict(state_dict=Tiny(71).state_dict()), tmp_path / 'avss.pth')
    model = Tiny(2)
    before = model.class_embed.weight.clone()
    with pytest.raises(ValueError, match='class_embed.weight has 72 rows = 71 classes, the config says 2'):
        load_weights(model, tmp_path / 'avss.pth')
    torch.testing.assert_close(model.class_embed.weight, before)


def test_other_method_is_reported():
    with pytest.raises(ValueError, match='another method or backbone: only 0 of 2 parameters'):
        check_state_dict(Tiny(), {'head.weight': torch.zeros(2)}, 'x.pth')


@pytest.mark.parametrize(('source', 'key'), [
    ('vct', 'sem_seg_head.predictor.query_feat.weight'),
    ('combo', 'sem_seg_head.fusion_module.audio_pos.weight'),
    ('avsegformer', 'head.transformer.encoder.layers.0.norm1.weight'),
    ('tpavi', 'tpavi_b1.align_channel.weight'),
    ('swin', 'layers.0.blocks.0.norm1.weight'),
])
def test_unconverted_weights_are_reported(source, key):
    with pytest.raises(ValueError, match=f'mmavs convert --from {source} SRC DST'):
        check_state_dict(Tiny(), {'backbone.norm1.weight': torch.zeros(2), key: torch.zeros(2)}, 'x.pth')


class Model(nn.Module):
    """Weights under the names of a segmentor."""

    def __init__(self, **shapes):
        super().__init__()
        self.shapes = shapes

    def state_dict(self):
        return {key: torch.zeros(shape) for key, shape in self.shapes.items()}


RESNET = {f'backbone.layer1.{i}.conv1.weight': (2, 2, 1, 1) for i in range(9)}
PVT = {f'backbone.block1.{i}.norm1.weight': (2, ) for i in range(9)}
HEAD = {f'decode_head.in_proj.{i}.weight': (2, 2) for i in range(4)} | {'decode_head.mask_head.4.weight': (71, 2, 1, 1)}
GENERATOR = {'decode_head.query_generator.query.weight': (3, 2)}


@pytest.mark.parametrize(('model', 'checkpoint', 'message'), [
    (PVT | HEAD, RESNET | HEAD, 'Its backbone is a ResNet, that of the config a PVTv2: use the config of its backbone'),
    (RESNET | HEAD | GENERATOR, RESNET | HEAD, 'it is of the first version of AVSegFormer, use .* avsegformer-v1_'),
    (RESNET | HEAD, RESNET | HEAD | GENERATOR, 'it is of the second version of AVSegFormer, use .* avsegformer_'),
    (RESNET | HEAD, RESNET | HEAD | {'decode_head.mask_head.4.weight': (1, 2, 1, 1)},
     r'has 1 rows = 1 class \(sounding objects\), the config says 71 classes'),
    (RESNET | HEAD, RESNET | {'decode_head.other.weight': (2, 2)},
     'belong to another method: only 9 of 14 parameters'),
    (RESNET | HEAD, {key.removeprefix('backbone.'): shape for key, shape in RESNET.items()},
     'holds the weights of a backbone alone: set model.backbone.init_cfg'),
])
def test_version_backbone_and_classes_of_another_model_are_reported(model, checkpoint, message):
    with pytest.raises(ValueError, match=message) as error:
        check_state_dict(Model(**model), Model(**checkpoint).state_dict(), 'x.pth')
    assert len([line for line in str(error.value).splitlines() if line.startswith('  ') and ': use' in line]) <= 1


def test_missing_mask_prior_and_other_input_size_are_reported():
    weights = convert_vct(randoms(vct_shapes(2, None))).state_dict
    with pytest.raises(ValueError, match='has a mask-prior branch and the config has none'):
        check_state_dict(vct_model(mask_prior=False), weights, 'x.pth')
    weights['decode_head.query_generator.query_mixer.layers.0.weight'] = torch.zeros(32, 56 * 56)
    with pytest.raises(ValueError, match='trained for frames of 224 x 224, the config says 32 x 32'):
        check_state_dict(vct_model(), weights, 'x.pth')


def test_a_converter_from_elsewhere_is_registered_once_and_recognized(monkeypatch):
    monkeypatch.setitem(CONVERTERS, 'other', None)  # restores the registries
    monkeypatch.setitem(TRAITS, 'other', None)
    del CONVERTERS['other'], TRAITS['other']
    rules = [Rename(r'net\.(\w+)', r'head.\1')]
    converter = Converter(lambda weights: apply_rules(weights, rules, 'other'), rules, lambda weights: 'other.py')
    register('other', converter, Traits(published=r'net\.', classifier=r'head\.weight$'))
    assert CONVERTERS['other'].convert({'net.weight': 1}).state_dict == {'head.weight': 1}
    with pytest.raises(ValueError, match='mmavs convert --from other SRC DST'):
        check_state_dict(Tiny(), {'net.weight': torch.zeros(2)}, 'x.pth')
    with pytest.raises(ValueError, match='head.weight has 3 rows = 3 classes, the config says 2 classes'):
        check_state_dict(Model(**{'head.weight': (2, 4)}), {'head.weight': torch.zeros(3, 4)}, 'x.pth')
    with pytest.raises(ValueError, match="named 'other' are registered already"):
        register('other', traits=Traits())

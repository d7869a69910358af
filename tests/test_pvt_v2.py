"""PVTv2: the authors' names, norms and attention."""
import math

import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

import mmavs.models  # noqa: F401
from mmavs.apis import convert_checkpoint
from mmavs.checkpoint.converters import apply_rules
from mmavs.checkpoint.converters.resnet import resnet_rules
from mmavs.models.backbones import PVTv2
from mmavs.models.backbones.pvt_v2 import SpatialReductionAttention
from mmavs.registry import MODELS

SMALL = dict(embed_dims=(8, 16, 20, 32), depths=(2, 1, 2, 1), mlp_ratios=(4, 2, 2, 4), num_heads=(1, 2, 5, 8))


def published_shapes(dims, depths, ratios, prefix=''):
    """Names and shapes of the authors' classification model without its classifier."""
    shapes, previous = {}, 3

    def add(name, *weight, bias=True):
        shapes[f'{prefix}{name}.weight'] = weight
        if bias:
            shapes[f'{prefix}{name}.bias'] = weight[:1]

    for stage, (c, depth, ratio, reduction) in enumerate(zip(dims, depths, ratios, (8, 4, 2, 1)), start=1):
        kernel = 7 if stage == 1 else 3
        add(f'patch_embed{stage}.proj', c, previous, kernel, kernel)
        add(f'patch_embed{stage}.norm', c)
        for i in range(depth):
            block = f'block{stage}.{i}.'
            for norm in ('norm1', 'norm2'):
                add(block + norm, c)
            add(f'{block}attn.q', c, c)
            add(f'{block}attn.kv', 2 * c, c)
            add(f'{block}attn.proj', c, c)
            if reduction > 1:
                add(f'{block}attn.sr', c, c, reduction, reduction)
                add(f'{block}attn.norm', c)
            add(f'{block}mlp.fc1', ratio * c, c)
            add(f'{block}mlp.dwconv.dwconv', ratio * c, 1, 3, 3)
            add(f'{block}mlp.fc2', c, ratio * c)
        add(f'norm{stage}', c)
        previous = c
    return shapes


def published_weights(prefix=''):
    generator = torch.Generator().manual_seed(0)
    shapes = published_shapes(SMALL['embed_dims'], SMALL['depths'], SMALL['mlp_ratios'], prefix)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


# Parameters in millions without the classifier; the last is what AVSegFormer's PVT has.
@pytest.mark.parametrize('arch, dims, depths, ratios, millions', [
    ('b0', (32, 64, 160, 256), (2, 2, 2, 2), (8, 8, 4, 4), None),
    ('b2', (64, 128, 320, 512), (3, 4, 6, 3), (8, 8, 4, 4), None),
    ('b5', (64, 128, 320, 512), (3, 6, 40, 3), (4, 4, 4, 4), 81.44),
])
def test_parameters_have_the_names_and_shapes_of_the_authors(arch, dims, depths, ratios, millions):
    with torch.device('meta'):
        model = PVTv2(arch)
    assert {name: tuple(x.shape) for name, x in model.state_dict().items()} == published_shapes(dims, depths, ratios)
    assert model.embed_dims == dims
    if millions:
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)


def test_embeddings_and_reduced_keys_have_another_epsilon_than_blocks():
    for name, module in PVTv2(SMALL).named_modules():
        if isinstance(module, nn.LayerNorm):
            expected = 1e-5 if name.endswith(('attn.norm', 'patch_embed1.norm', 'patch_embed2.norm',
                                              'patch_embed3.norm', 'patch_embed4.norm')) else 1e-6
            assert module.eps == expected, name


@pytest.mark.parametrize('reduction', [1, 2])
def test_attention_is_softmax_over_the_reduced_map(reduction):
    torch.manual_seed(0)
    attn, x = SpatialReductionAttention(12, 3, reduction), torch.randn(2, 24, 12)
    keys = x
    if reduction > 1:
        keys = attn.norm(attn.sr(x.transpose(1, 2).reshape(2, 12, 4, 6)).flatten(2).transpose(1, 2))
    q, (k, v) = attn.q(x), attn.kv(keys).split(12, dim=2)
    heads = []
    for i in range(3):
        at = slice(4 * i, 4 * i + 4)
        weights = (q[..., at] @ k[..., at].transpose(1, 2) / 2).softmax(2)
        assert weights.shape == (2, 24, 24 // reduction**2)
        heads.append(weights @ v[..., at])
    torch.testing.assert_close(attn(x, (4, 6)), attn.proj(torch.cat(heads, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('size, expected', [((64, 96), ((16, 24), (8, 12), (4, 6), (2, 3))),
                                            ((72, 50), ((18, 13), (9, 7), (5, 4), (3, 2)))])
def test_maps_have_strides_4_to_32(size, expected):
    maps = PVTv2(SMALL)(torch.randn(2, 3, *size))
    assert [tuple(x.shape) for x in maps] == [(2, c, *s) for c, s in zip(SMALL['embed_dims'], expected)]


def test_maps_are_normalized():
    maps = PVTv2(SMALL).eval()(torch.randn(1, 3, 64, 64))
    for x in maps:
        torch.testing.assert_close(x.mean(1), torch.zeros_like(x[:, 0]), rtol=0, atol=1e-5)


def test_stochastic_depth_grows_linearly_from_none():
    model = PVTv2(SMALL, drop_path_rate=0.5)
    found = [block.drop_path.drop_prob for i in range(1, 5) for block in getattr(model, f'block{i}')]
    assert found == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])


def test_initial_weights_are_distributed_as_published():
    torch.manual_seed(0)
    model = PVTv2('b0')
    block = model.block3[0]
    assert block.mlp.dwconv.dwconv.weight.std().item() == pytest.approx(math.sqrt(2 / 9), rel=0.05)
    assert block.attn.sr.weight.std().item() == pytest.approx(math.sqrt(2 / (4 * 160)), rel=0.05)
    assert block.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert not any(p.any() for name, p in model.named_parameters() if name.endswith('bias'))


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    model = PVTv2(SMALL, drop_path_rate=0.)
    sum((x * torch.randn_like(x)).sum() for x in model(torch.randn(2, 3, 64, 64))).backward()
    assert [name for name, p in model.named_parameters() if not p.grad.any()] == []


def test_published_file_is_loaded_unchanged(tmp_path):
    weights = published_weights()
    torch.save(weights | {'head.weight': torch.ones(10, 32), 'head.bias': torch.ones(10)}, tmp_path / 'pvt.pth')
    init_default_scope('mmavs')
    model = MODELS.build(
        dict(type='PVTv2', arch=SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'pvt.pth'))))
    model.init_weights()
    for name, x in model.state_dict().items():
        assert torch.equal(x, weights[name]), name


@pytest.mark.parametrize('prefix, others', [
    ('', {'head.weight', 'head.bias'}),
    ('encoder_backbone.', {'tpavi_b1.g.weight', 'output_conv.0.weight'}),
    ('backbone.', {'head.fc.4.weight', 'vggish.features.0.weight'}),
])
def test_backbone_is_found_in_published_files(tmp_path, prefix, others):
    weights = published_weights(prefix)
    torch.save(weights | {name: torch.ones(1) for name in others}, tmp_path / 'src.pth')
    conversion = convert_checkpoint('pvtv2', tmp_path / 'src.pth', tmp_path / 'dst.pth')
    assert set(conversion.used) == set(weights) and set(conversion.dropped) == others
    saved = torch.load(tmp_path / 'dst.pth', weights_only=True)['state_dict']
    assert all(torch.equal(saved[name.removeprefix(prefix)], x) for name, x in weights.items())


@pytest.mark.parametrize('arch, message', [
    ('b7', "arch is 'b7', expected one of b0, b1"),
    (dict(embed_dims=(8, 16), depths=(1, 1), mlp_ratios=(1, 1)), 'four values each'),
    (dict(embed_dims=(8, 16, 20, 32), depths=(1, 1, 1, 1)), 'mlp_ratios'),
])
def test_unknown_architecture_is_an_error(arch, message):
    with pytest.raises(ValueError, match=message):
        PVTv2(arch)


def test_second_branch_of_the_published_resnet_is_dropped():
    names = ['conv1.weight', 'bn1.running_mean', 'layer1.0.downsample.0.weight', 'layer2.3.bn3.num_batches_tracked',
             'layer3_1.5.conv2.weight', 'layer4_1.0.downsample.1.bias']
    unused = ['layer3_2.0.conv1.weight', 'layer4_2.2.bn1.weight']
    weights = {f'resnet.{name}': torch.ones(()) for name in names + unused}
    conversion = apply_rules(weights, resnet_rules('resnet.', 'backbone.'), 'test')
    assert list(conversion.state_dict) == [f"backbone.{name.replace('_1', '')}" for name in names]
    assert set(conversion.dropped) == {f'resnet.{name}' for name in unused}

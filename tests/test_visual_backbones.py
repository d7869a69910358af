"""Visual backbones of mmpretrain in the methods: pyramids, positions, published weights, learning rates."""
import re
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import mmpretrain
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.models import ViTEVA02 as MMPretrainViTEVA02
from small_models import small_config
from torch import nn

from mmavs.checkpoint.compatibility import check_pretrained
from mmavs.engine import FreezeBackboneHook, ParamRulesOptimWrapperConstructor
from mmavs.models.backbones import SimpleFeaturePyramid, ViTEVA02
from mmavs.models.backbones.eva02 import rotary_positions, rotate
from mmavs.registry import MODELS
from mmavs.utils.config import load_config

REPOSITORY = Path(__file__).parents[1]
VCT = REPOSITORY / 'configs/vct'
NEW = ('convnext-b', 'swin-l', 'dinov2-b', 'eva02-b')
ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def vit(**options) -> dict:
    return dict(type='mmpretrain.VisionTransformer', arch=ARCH, img_size=70, patch_size=14) | options


def pyramid(**options) -> SimpleFeaturePyramid:
    init_default_scope('mmavs')
    return MODELS.build(dict(type='SimpleFeaturePyramid', out_channels=8, backbone=vit(**options)))


def random_parameters(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


def without_values(config: dict) -> nn.Module:
    """Large module on the meta device, for its names and shapes."""
    linspace = torch.linspace
    # Constructors read rates of drop path off a tensor.
    with torch.device('meta'), mock.patch('torch.linspace', lambda *args: linspace(*args, device='cpu')):
        return MODELS.build(config)


@pytest.mark.parametrize('name', NEW)
@pytest.mark.parametrize('size', [(384, 384), (224, 224), (96, 160)], ids=str)
def test_backbone_gives_a_pyramid_at_the_four_strides(name, size):
    config = small_config(VCT / f'vct_{name}_avss.py')
    backbone = MODELS.build(config.backbone)
    backbone.eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, *size))
    height, width = size
    channels = config.decode_head.pixel_decoder.in_channels
    assert [tuple(x.shape) for x in maps] == [
        (1, c, height // stride, width // stride) for c, stride in zip(channels, (4, 8, 16, 32))]


@pytest.mark.parametrize('method', ['vct', 'avsegformer'])
@pytest.mark.parametrize('name', NEW)
def test_config_gives_its_head_the_channels_of_its_backbone(name, method):
    model = load_config(str(REPOSITORY / f'configs/{method}/{method}_{name}_avss.py')).model
    backbone = without_values(model.backbone)
    if isinstance(backbone, SimpleFeaturePyramid):
        channels = [level[-1].num_channels for level in backbone.levels]
    else:
        channels = backbone.channels if name == 'convnext-b' else backbone.num_features
    told = model.decode_head.pixel_decoder if method == 'vct' else model.decode_head
    assert tuple(channels) == tuple(told.in_channels)


@pytest.mark.parametrize('patch_size', [14, 16])
def test_patch_of_any_size_covers_16_pixels_of_the_frame(patch_size):
    backbone = random_parameters(pyramid(patch_size=patch_size, img_size=5 * patch_size))
    frame = torch.zeros(1, 3, 96, 160)
    frame[..., 48:64, 80:96] = 1
    embed = backbone.backbone.patch_embed
    embedded = []
    embed.register_forward_hook(lambda module, inputs, outputs: embedded.append(outputs))
    with torch.no_grad():
        backbone(frame)
        backbone(torch.zeros_like(frame))
    (lit, grid), (dark, _) = embedded
    assert grid == (6, 10)
    change = (lit - dark)[0].norm(dim=1).view(grid)
    assert change.argmax() == 3 * 10 + 5
    neighbors = change.clone()
    neighbors[3, 5] = 0
    # Resizing blurs across the edges of a patch.
    assert neighbors.max() < (0.3 * change.max() if patch_size == 14 else 1e-6)


def test_frames_that_are_not_multiples_of_32_are_refused():
    with pytest.raises(ValueError, match='frames are 96x80, expected multiples of 32: set .*pad_size_divisor=32'):
        pyramid()(torch.zeros(1, 3, 96, 80))


def test_pyramid_trains_all_of_its_parameters():
    backbone = random_parameters(pyramid(layer_scale_init_value=1e-5))
    sum(x.square().mean() for x in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert all((p.grad != 0).any() for p in backbone.parameters())


def test_rotary_positions_rotate_pairs_of_channels_by_row_and_column():
    height, width, channels = 3, 5, 8
    x = torch.randn(2, 1 + height * width, channels)
    pairs = torch.view_as_complex(rotate(x, rotary_positions((height, width), channels, x.device)).unflatten(2, (4, 2)))
    original = torch.view_as_complex(x.unflatten(2, (4, 2)))
    assert torch.equal(pairs[:, 0], original[:, 0])  # the class token has no position
    for row in range(height):
        for column in range(width):
            # 16 positions whatever the grid; frequencies 1 and 1 / 100 of 8 channels.
            angles = torch.tensor([16 * row / height, 0.16 * row / height, 16 * column / width, 0.16 * column / width])
            expected = original[:, 1 + row * width + column] * torch.exp(1j * angles)
            torch.testing.assert_close(pairs[:, 1 + row * width + column], expected)


def test_eva02_computes_what_mmpretrain_does_with_these_positions():
    options = dict(arch=ARCH, img_size=56, patch_size=14, sub_ln=True, final_norm=False, out_type='featmap',
                   qkv_bias=True, norm_cfg=dict(type='LN', eps=1e-6))
    ours, theirs = random_parameters(ViTEVA02(**options)), MMPretrainViTEVA02(**options)
    ours.eval(), theirs.eval()
    report = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert report.unexpected_keys == [] and all('rope.freqs' in key for key in report.missing_keys)
    cos, sin = rotary_positions((4, 4), 8, torch.device('cpu'))
    theirs.rope.freqs_cos, theirs.rope.freqs_sin = (x[1:].repeat_interleave(2, 1) for x in (cos, sin))
    x = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        torch.testing.assert_close(ours(x)[0], theirs(x)[0])


def test_weights_of_eva02_do_not_depend_on_the_size_of_frames():
    model = ViTEVA02(arch=ARCH, img_size=56, patch_size=14, final_norm=False, out_type='featmap')
    before = {key: x.shape for key, x in model.state_dict().items()}
    with torch.no_grad():
        assert model(torch.randn(1, 3, 84, 42))[0].shape == (1, 16, 6, 3)
    assert {key: x.shape for key, x in model.state_dict().items()} == before


@pytest.mark.parametrize('name,source,new', [
    ('convnext-b', 'convnext/convnext-base_32xb128_in21k.py', r'norm[012]\.'),
    ('dinov2-b', 'dinov2/vit-base-p14_dinov2-pre_headless.py', None),
    ('eva02-b', 'eva02/eva02-base-p14_headless.py', None),
])
def test_published_file_of_mmpretrain_fits_by_name_and_shape(name, source, new):
    configs = Path(mmpretrain.__file__).parent / '.mim/configs'
    backbone = load_config(str(VCT / f'vct_{name}_avss.py')).model.backbone
    backbone = backbone.backbone if backbone.type == 'SimpleFeaturePyramid' else backbone
    assert backbone.init_cfg.checkpoint in (configs / source.split('/')[0] / 'metafile.yml').read_text()
    ours = without_values(backbone)
    theirs = without_values(dict(Config.fromfile(configs / source).model.backbone, _scope_='mmpretrain'))
    published = {key: x.shape for key, x in theirs.state_dict().items()}
    for key, x in ours.state_dict().items():
        assert published.get(key) == x.shape or new and re.match(new, key), key


def save_published(path: Path, **options) -> nn.Module:
    """Save weights as mmpretrain publishes them, and return their model."""
    model = random_parameters(MODELS.build(vit(**options)))
    torch.save(dict(state_dict={f'backbone.{key}': x for key, x in model.state_dict().items()}), path)
    return model


@pytest.mark.parametrize('prefix', ['backbone', 'backbone.'])
def test_published_weights_are_loaded_into_the_transformer(tmp_path, prefix):
    init_default_scope('mmavs')
    published = save_published(tmp_path / 'vit.pth')
    init_cfg = dict(type='Pretrained', prefix=prefix, checkpoint=str(tmp_path / 'vit.pth'))
    backbone = pyramid(init_cfg=init_cfg)
    backbone.init_weights()
    for key, x in published.state_dict().items():
        assert torch.equal(backbone.backbone.state_dict()[key], x), key
    check_pretrained(backbone.backbone, init_cfg['checkpoint'], prefix, 'backbone.backbone')


def test_published_weights_of_another_transformer_are_refused(tmp_path):
    init_default_scope('mmavs')
    save_published(tmp_path / 'vit.pth', arch=dict(ARCH, embed_dims=32))
    with pytest.raises(ValueError, match=r'vit.pth: only \d+ of the \d+ parameters of backbone.backbone are in it'):
        check_pretrained(pyramid().backbone, tmp_path / 'vit.pth', 'backbone', 'backbone.backbone')


def rates(name: str) -> tuple[dict, nn.Module]:
    """Learning rate and weight decay by the name of a parameter, of a small model with mask priors."""
    config = small_config(VCT / f'vct_{name}_avss.py')
    config.mask_prior = dict(type='MaskPriorBranch', channels=(64, ) * 4, backbone=config.backbone)
    model = MODELS.build(config)
    wrapper = load_config(str(VCT / f'vct_{name}_avss.py')).optim_wrapper
    groups = ParamRulesOptimWrapperConstructor(dict(optimizer=wrapper.optimizer),
                                         wrapper.paramwise_cfg).parameter_groups(model)
    assert groups[0]['lr'] == 1e-4
    found = {id(p): (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
    return {key: found[id(p)] for key, p in model.named_parameters() if p.requires_grad}, model


@pytest.mark.parametrize('name', ['dinov2-b', 'eva02-b'])
def test_learning_rate_of_a_plain_transformer_decays_from_layer_to_layer(name):
    found, model = rates(name)
    num_layers = 2
    for key, (lr, decay) in found.items():
        layer = re.match(r'(?:mask_prior\.)?backbone\.backbone\.layers\.(\d)\.', key)
        exponent = 0
        if layer:
            exponent = num_layers - int(layer[1])
        elif re.match(r'(?:mask_prior\.)?backbone\.backbone\.(patch_embed|cls_token|pos_embed)', key):
            exponent = num_layers + 1
        assert lr == pytest.approx(1e-4 * 0.7**exponent), key
        owner = model.get_submodule(key.rpartition('.')[0])
        undecayed = isinstance(owner, nn.LayerNorm | nn.GroupNorm | nn.Embedding)
        assert decay == (0 if undecayed or key.endswith(('pos_embed', 'cls_token')) else 0.05), key
    assert {lr for key, (lr, _) in found.items() if key.startswith('mask_prior.backbone.backbone')} >= {
        1e-4 * 0.7**exponent for exponent in (1, 2, 3)}


def test_layers_decay_on_top_of_a_lower_rate_for_the_backbone():
    model = nn.Module()
    model.backbone = MODELS.build(dict(type='mmpretrain.ConvNeXt', arch=dict(depths=(1, 1, 2, 1), channels=(4, ) * 4),
                                       out_indices=(0, 1, 2, 3), gap_before_final_norm=False))
    model.head = nn.Linear(2, 2)
    rules = dict(lr_mult={'backbone': 0.1}, layer_decay=0.5)
    optim_wrapper = dict(optimizer=dict(lr=1.0, weight_decay=0.05))
    groups = ParamRulesOptimWrapperConstructor(optim_wrapper, rules).parameter_groups(model)
    found = {id(p): group['lr'] for group in groups for p in group['params']}
    lr = {key: found[id(p)] for key, p in model.named_parameters()}
    # Of ConvNeXt's 6 depths: the stem is 0, the first stages 1 and 2, three blocks of the third one depth, the last 6.
    assert lr['head.weight'] == 1
    assert lr['backbone.norm3.weight'] == pytest.approx(0.1)
    assert lr['backbone.stages.3.0.gamma'] == pytest.approx(0.1 * 0.5)
    assert lr['backbone.stages.2.1.gamma'] == pytest.approx(0.1 * 0.5**4)
    assert lr['backbone.downsample_layers.0.0.weight'] == pytest.approx(0.1 * 0.5**7)


def test_layer_decay_requires_a_backbone_with_layer_depths():
    rules = ParamRulesOptimWrapperConstructor(dict(optimizer=dict(lr=1.0, weight_decay=0.)), dict(layer_decay=0.5))
    with pytest.raises(ValueError, match='layer_decay is set, but no part of the Linear tells the depth'):
        rules.parameter_groups(nn.Linear(2, 2))


def test_pyramid_learns_while_its_transformer_is_frozen():
    model = nn.Module()
    model.backbone = pyramid()
    FreezeBackboneHook(1).before_train_epoch(SimpleNamespace(model=model, epoch=0))
    assert not any(p.requires_grad for p in model.backbone.backbone.parameters())
    assert all(p.requires_grad for p in model.backbone.levels.parameters())

"""Backbones that hand out their last blocks: those of timm and transformers, and PVTv2."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from small_models import loss_of, make_clip, predict, small_config
from torch import nn

from mmavs.models.backbones import BlockPVTv2, PVTv2, TimmViT, TransformersViT
from mmavs.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
SMALL = dict(hidden_size=32, num_hidden_layers=4, num_attention_heads=2, patch_size=16)
TIMM = dict(depth=4, embed_dim=32, num_heads=2, patch_size=16)
SIZE = (48, 64)


def transformers_vit(model_type, **arch):
    pytest.importorskip('transformers', reason='the optional library transformers is not installed')
    return TransformersViT(model_type, num_head_blocks=2, arch=SMALL | arch)


def timm_vit(model_name, **arch):
    pytest.importorskip('timm', reason='the optional library timm is not installed')
    return TimmViT(model_name, num_head_blocks=2, arch=TIMM | arch)


BACKBONES = {
    'dinov3': lambda: transformers_vit('dinov3_vit', intermediate_size=64, num_register_tokens=4),
    'dinov2': lambda: transformers_vit('dinov2', image_size=64),
    'timm-vit': lambda: timm_vit('vit_tiny_patch16_224'),
    'timm-dinov2': lambda: timm_vit('vit_base_patch14_reg4_dinov2'),
    'timm-dinov3': lambda: timm_vit('vit_base_patch16_dinov3'),
    'timm-eva02': lambda: timm_vit('eva02_tiny_patch14_224'),
}


@pytest.fixture(params=BACKBONES)
def backbone(request) -> nn.Module:
    torch.manual_seed(0)
    model = BACKBONES[request.param]().eval()
    for name, parameter in model.named_parameters():
        # Scales near 0 would hide what the blocks do.
        if parameter.ndim == 1 and parameter.abs().max() < 0.1 and 'bias' not in name:
            nn.init.constant_(parameter, 0.5)
    return model


def run_blocks(features, x, attend=None):
    for index in range(features.first_block, features.num_blocks):
        x = features.run_block(index, x, attend)
    return features.norm(x)


@torch.no_grad()
def test_handed_out_blocks_and_those_before_are_the_whole_model(backbone):
    frames = torch.randn(2, 3, *SIZE)
    features = backbone(frames)
    assert (features.first_block, features.num_blocks, features.grid) == (2, 4, (3, 4))
    assert features[0].shape == (2, 32, 3, 4) and backbone.embed_dims == 32
    found = run_blocks(features, features.tokens)
    backbone.num_head_blocks = 4
    features = backbone(frames)
    torch.testing.assert_close(run_blocks(features, features.tokens), found)


@torch.no_grad()
def test_queries_that_no_token_attends_to_change_none_of_them(backbone):
    features = backbone(torch.randn(2, 3, *SIZE))
    alone = run_blocks(features, features.tokens)
    length = 7 + features.tokens.shape[1]
    attend = torch.ones(2, 1, length, length, dtype=torch.bool)
    attend[:, :, 7:, :7] = False
    queries = torch.randn(2, 7, 32)
    found = run_blocks(features, torch.cat((queries, features.tokens), 1), attend)
    torch.testing.assert_close(found[:, 7:], alone)
    # Queries have no position: they are permuted with their order.
    swapped = run_blocks(features, torch.cat((queries.flip(1), features.tokens), 1), attend)
    torch.testing.assert_close(swapped[:, :7].flip(1), found[:, :7])


@torch.no_grad()
@pytest.mark.parametrize('name', ['timm-dinov2', 'timm-dinov3', 'timm-eva02'])
def test_blocks_of_timm_give_the_features_of_timm(name):
    timm = pytest.importorskip('timm')
    torch.manual_seed(0)
    ours = BACKBONES[name]().eval()
    model_name = dict(zip(('timm-dinov2', 'timm-dinov3', 'timm-eva02'), (
        'vit_base_patch14_reg4_dinov2', 'vit_base_patch16_dinov3', 'eva02_tiny_patch14_224')))[name]
    theirs = timm.create_model(model_name, num_classes=0, global_pool='', dynamic_img_size=True, **TIMM).eval()
    weights = {key.removeprefix('embedding.'): value.clone() for key, value in ours.state_dict().items()}
    ours.init_weights()  # which keeps those that timm has loaded
    theirs.load_state_dict(weights)
    frames = torch.randn(2, 3, *SIZE)
    features = ours(frames)
    torch.testing.assert_close(run_blocks(features, features.tokens), theirs.forward_features(frames))


@torch.no_grad()
def test_blocks_of_transformers_give_the_features_of_transformers(tmp_path):
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    arch = SMALL | dict(intermediate_size=64, num_register_tokens=4)
    model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**arch)).eval()
    model.save_pretrained(tmp_path)
    ours = TransformersViT('dinov3_vit', num_head_blocks=2, arch=arch, directory=str(tmp_path)).eval()
    ours.init_weights()
    frames = torch.randn(2, 3, *SIZE)
    features = ours(frames)
    torch.testing.assert_close(run_blocks(features, features.tokens), model(frames).last_hidden_state)

    other = TransformersViT('dinov3_vit', 2, arch | dict(num_register_tokens=2), str(tmp_path))
    with pytest.raises(ValueError, match=r'differs from the backbone of the config in 1 weights .*register_tokens'):
        other.init_weights()
    with pytest.raises(FileNotFoundError, match='no config.json there'):
        TransformersViT('dinov3_vit', 2, arch, str(tmp_path / 'absent')).init_weights()


def test_unusable_models_and_frames_are_named():
    pytest.importorskip('timm')
    with pytest.raises(ValueError, match="has no model 'vit_huge_patch0'"):
        TimmViT('vit_huge_patch0', 2)
    with pytest.raises(ValueError, match="'swin_tiny_patch4_window7_224'.*plain vision transformer"):
        TimmViT('swin_tiny_patch4_window7_224', 2)
    model = timm_vit('vit_tiny_patch16_224')
    with pytest.raises(ValueError, match=r'frames are 40x64, expected multiples of the patch size 16'):
        model(torch.zeros(1, 3, 40, 64))
    model.num_head_blocks = 5
    with pytest.raises(ValueError, match='num_head_blocks is 5, expected 1 to 4'):
        model(torch.zeros(1, 3, 64, 64))


ARCH = dict(embed_dims=(8, 16, 32, 64), depths=(1, 1, 3, 1), num_heads=(1, 1, 2, 2), mlp_ratios=(2, 2, 2, 2))


@torch.no_grad()
def test_pvt_without_its_last_stage_is_pvt_until_there():
    torch.manual_seed(0)
    whole = PVTv2(ARCH, drop_path_rate=0.).eval()
    cut = BlockPVTv2(ARCH, num_head_blocks=2, num_full_blocks=0).eval()
    cut.load_state_dict(whole.state_dict())  # also the last stage, which is dropped
    frames = torch.randn(2, 3, 64, 96)
    features = cut(frames)
    assert (features.first_block, features.num_blocks, features.grid) == (3, 5, (4, 6))
    found = run_blocks(features, features.tokens).transpose(1, 2).unflatten(2, (4, 6))
    torch.testing.assert_close(found, whole(frames)[2])


@torch.no_grad()
def test_last_blocks_of_pvt_attend_to_every_token_and_mix_queries_with_pixels():
    torch.manual_seed(0)
    cut = BlockPVTv2(ARCH, num_head_blocks=2, num_full_blocks=2).eval()
    cut.load_state_dict(PVTv2(ARCH).state_dict())  # reduced keys of the full blocks are dropped
    assert [block.attn.sr is None for block in cut.block3] == [False, True, True]
    features = cut(torch.randn(1, 3, 64, 64))
    queries = torch.randn(1, 9, 32)  # 16 + 9 = 5 * 5
    attend = torch.eye(25, dtype=torch.bool)[None, None]
    x = torch.cat((queries, features.tokens), 1)
    found = features.run_block(3, x, attend)
    x[:, 8] = -x[:, 8]  # the last query: row 1, column 3 of the 5x5 map
    changed = (features.run_block(3, x, attend) - found).abs().amax(2)[0] > 1e-6
    assert changed.nonzero().flatten().tolist() == [2, 3, 4, 7, 8, 9, 12, 13, 14]
    with pytest.raises(ValueError, match=r'8 queries and 16 patches do not fill a square.*num_queries of .* to 9'):
        features.run_block(3, x[:, 1:], None)


NEW_BACKBONE = '''_base_ = '{base}'

model = dict(
    backbone=dict(
        _delete_=True,
        type='TimmViT',
        model_name='vit_small_patch16_dinov3',
        num_head_blocks=4),
    decode_head=dict(embed_dims=384))
'''


def test_new_vit_of_timm_is_a_backbone_of_ease_with_a_config_of_ten_lines(tmp_path):
    pytest.importorskip('timm')
    torch.manual_seed(0)
    init_default_scope('mmavs')
    config = tmp_path / 'ease_new_ms3.py'
    config.write_text(NEW_BACKBONE.format(base=CONFIGS / 'ease/ease_dinov3-b_ms3.py'))
    assert len(config.read_text().splitlines()) <= 10
    model = MODELS.build(small_config(config))
    clips = [make_clip(model, 2) for _ in range(2)]
    loss_of(model.train(), clips).backward()
    idle = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert [name for name in idle if name != 'decode_head.fuser.weight.bias'] == []
    assert predict(model, clips[0])[0].seg_logits.isfinite().all()

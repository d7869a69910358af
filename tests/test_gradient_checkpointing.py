"""Gradient checkpointing of the backbones: the same outputs and gradients, with fewer kept activations."""
import warnings

import pytest
import torch
from mmengine.registry import init_default_scope

import mmavs.models  # noqa: F401
from mmavs.registry import MODELS

PVT = dict(embed_dims=(8, 16, 20, 32), depths=(2, 1, 2, 1), mlp_ratios=(4, 2, 2, 4), num_heads=(1, 2, 5, 8))
VIT = dict(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, patch_size=16)
BACKBONES = {
    'PVTv2': dict(type='PVTv2', arch=PVT, drop_path_rate=0.3),
    'SwinTransformer': dict(type='SwinTransformer', embed_dims=8, depths=(2, 1, 1, 1), num_heads=(1, 1, 2, 2),
                            window_size=4, drop_path_rate=0.3),
    'mmseg.ResNet': dict(type='mmseg.ResNet', depth=50, stem_channels=8, base_channels=8, norm_eval=True),
    'mmseg.VisionTransformer': dict(type='mmseg.VisionTransformer', img_size=64, embed_dims=16, num_layers=2,
                                    num_heads=2, drop_path_rate=0.3),
    'BlockPVTv2': dict(type='BlockPVTv2', arch=PVT, num_head_blocks=1, num_full_blocks=1),
    'TransformersViT': dict(type='TransformersViT', model_type='dinov3_vit', num_head_blocks=1, arch=VIT),
}


def run(config, x, with_cp):
    """Sum of the outputs, gradients by name, and number of values that the forward pass keeps for the backward pass."""
    torch.manual_seed(0)
    backbone = MODELS.build(dict(config, with_cp=with_cp))
    backbone.train()
    kept = []

    def pack(tensor):
        kept.append(tensor.numel())
        return tensor

    torch.manual_seed(1)  # stochastic depth
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = backbone(x)
        if hasattr(out, 'run_block'):  # a head runs the last blocks
            tokens = out.tokens
            for index in range(out.first_block, out.num_blocks):
                tokens = out.run_block(index, tokens, None)
            out = [tokens]
        loss = sum((part * part.detach().cos()).mean() for part in out)
    count = sum(kept)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in backbone.named_parameters() if p.grad is not None}, count


@pytest.mark.parametrize('name', BACKBONES)
def test_gradients_are_equal_with_and_without(name):
    init_default_scope('mmavs')
    x = torch.randn(2, 3, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # mmseg's backbones do not say which kind of checkpointing they want
        loss, grads, kept = run(BACKBONES[name], x, False)
        other_loss, other_grads, other_kept = run(BACKBONES[name], x, True)
    assert other_kept < 0.8 * kept
    torch.testing.assert_close(other_loss, loss, rtol=1e-6, atol=0)
    assert list(grads) == list(other_grads) and len(grads) > 10
    for key, grad in grads.items():
        torch.testing.assert_close(other_grads[key], grad, rtol=1e-5, atol=1e-7)

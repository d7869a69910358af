"""Gradient checkpointing: the same losses and gradients, with fewer kept activations."""
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from small_models import loss_of, make_clip, randomize_constant_init, small_config

import mmavs.models  # noqa: F401
from mmavs.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
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


class KeptValues(torch.autograd.graph.saved_tensors_hooks):
    """Count the values of different tensors, without parameters, that a forward pass keeps for the backward pass."""

    def __init__(self):
        super().__init__(self._keep, lambda tensor: tensor)
        self.kept = {}

    def _keep(self, tensor):
        if not tensor.is_leaf or not tensor.requires_grad:
            self.kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    @property
    def count(self):
        return sum(tensor.untyped_storage().nbytes() // 4 for tensor in self.kept.values())


def gradients(module):
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def run(config, x, with_cp):
    """Sum of the outputs, gradients by name, and number of values that the forward pass keeps for the backward pass."""
    torch.manual_seed(0)
    backbone = MODELS.build(dict(config, with_cp=with_cp))
    backbone.train()
    torch.manual_seed(1)  # stochastic depth
    with (values := KeptValues()):
        out = backbone(x)
        if hasattr(out, 'run_block'):  # a head runs the last blocks
            tokens = out.tokens
            for index in range(out.first_block, out.num_blocks):
                tokens = out.run_block(index, tokens, None)
            out = [tokens]
        loss = sum((part * part.detach().cos()).mean() for part in out)
    loss.backward()
    return loss.detach(), gradients(backbone), values.count


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


def run_model(config, with_cp):
    """:func:`run` of a training step of the small model of a config."""
    torch.manual_seed(0)
    model = MODELS.build(dict(small_config(CONFIGS / config), with_cp=with_cp)).train()
    randomize_constant_init(model)
    clip = make_clip(model, 3)
    torch.manual_seed(1)  # dropout, Gumbel noise, points of the loss
    with (values := KeptValues()):
        loss = loss_of(model, [clip])
    loss.backward()
    return loss.detach(), gradients(model), values.count


# Values that are kept with checkpointing, as a fraction of those without. Small backbones have one block in a stage,
# and RAVS checkpoints only its backbone.
@pytest.mark.parametrize('config, fraction', [
    ('vct/vct_swin-b_s4_mask-prior.py', 0.2), ('combo/combo_r50_s4.py', 0.6),
    ('avsegformer/avsegformer_pvt-v2-b5_avss.py', 0.4), ('avsegformer/avsegformer-v1_r50_s4.py', 0.2),
    ('tpavi/tpavi_r50_s4.py', 0.4), ('ravs/ravs_pvt-v2-b5_s4.py', 0.95), ('ease/ease_tiny_synthetic.py', 0.5)])
def test_a_model_has_one_switch_that_changes_neither_losses_nor_gradients(config, fraction):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        loss, grads, kept = run_model(config, False)
        other_loss, other_grads, other_kept = run_model(config, True)
    assert other_kept < fraction * kept
    torch.testing.assert_close(other_loss, loss, rtol=1e-6, atol=0)
    assert list(grads) == list(other_grads) and len(grads) > 10
    for key, grad in grads.items():
        torch.testing.assert_close(other_grads[key], grad, rtol=1e-4, atol=1e-5 * grad.abs().max().item() + 1e-8)

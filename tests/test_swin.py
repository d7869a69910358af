"""Swin with fused attention, beside mmseg's."""
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.models.backbones import SwinTransformer as MMSegSwinTransformer

import mmavs.models  # noqa: F401
from mmavs.models.backbones import SwinTransformer
from mmavs.registry import MODELS

SMALL = dict(embed_dims=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 2, 4), window_size=4, drop_path_rate=0.2)


@pytest.fixture()
def pair():
    """Ours and mmseg's with the same weights; every parameter random, biases too."""
    torch.manual_seed(0)
    theirs, ours = MMSegSwinTransformer(**SMALL), SwinTransformer(**SMALL)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


# 64: every map is windows exactly, the last smaller than one; 72x56: windows are padded.
@pytest.mark.parametrize('size', [(64, 64), (72, 56), (128, 96)])
@pytest.mark.parametrize('mode', ['eval', 'train'])
def test_outputs_and_gradients_equal_those_of_mmseg(pair, size, mode):
    x = torch.randn(2, 3, *size)
    results = []
    for net in pair:
        net.train(mode == 'train')
        torch.manual_seed(1)  # stochastic depth
        outputs = net(x)
        sum((out * out.detach().cos()).mean() for out in outputs).backward()
        results.append((outputs, {name: p.grad for name, p in net.named_parameters()}))
    (ours, our_grads), (theirs, their_grads) = results
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * b.abs().max().item())
    for name, grad in their_grads.items():
        torch.testing.assert_close(our_grads[name], grad, rtol=0, atol=1e-5 * max(grad.abs().max().item(), 1e-2))


def test_train_after_inference_mode(pair):
    ours, _ = pair
    with torch.inference_mode():
        ours(torch.randn(1, 3, 160, 160))
    sum(out.mean() for out in ours(torch.randn(1, 3, 160, 160))).backward()


def test_default_scope_finds_fused_swin():
    init_default_scope('mmavs')
    assert type(MODELS.build(dict(type='SwinTransformer', **SMALL))) is SwinTransformer


def test_attention_dropout_is_refused():
    with pytest.raises(ValueError, match='attn_drop_rate is 0.1'):
        SwinTransformer(**SMALL, attn_drop_rate=0.1)

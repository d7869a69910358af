"""Multi-scale deformable attention, its sampling, and the encodings and attention it is used with."""
import math

import pytest
import torch
from torch import nn

from mmavs.models.layers import (
    MultiheadAttention,
    MultiScaleDeformableAttention,
    deformable_sampling,
    sine_positional_encoding,
)
from mmavs.models.layers.deformable_attention import mmcv_cuda_op, sample_by_rows

SHAPES = [(2, 3), (4, 5), (1, 7)]


def sampling_inputs(num=2, num_queries=3, num_heads=2, num_points=2, channels=4, dtype=torch.float64, device='cpu'):
    """Values, locations (some of them outside of the maps) and weights."""
    torch.manual_seed(0)
    num_tokens = sum(h * w for h, w in SHAPES)
    value = torch.randn(num, num_tokens, num_heads, channels, dtype=dtype)
    locations = torch.rand(num, num_queries, num_heads, len(SHAPES), num_points, 2, dtype=dtype) * 1.6 - 0.3
    weights = torch.rand(num, num_queries, num_heads, len(SHAPES), num_points, dtype=dtype)
    return [x.to(device).requires_grad_() for x in (value, locations, weights)]


def sample_point_by_point(value, locations, weights):
    """The definition: loop over everything, bilinear interpolation of zero-padded maps."""
    num, num_queries, num_heads, num_levels, num_points = weights.shape
    out = torch.zeros(num, num_queries, num_heads, value.shape[-1], dtype=value.dtype)
    for n in range(num):
        for q in range(num_queries):
            for head in range(num_heads):
                start = 0
                for level, (h, w) in enumerate(SHAPES):
                    grid = value[n, start:start + h * w, head].view(h, w, -1)
                    start += h * w
                    for point in range(num_points):
                        x, y = locations[n, q, head, level, point].tolist()
                        x, y = x * w - 0.5, y * h - 0.5
                        for row in (math.floor(y), math.floor(y) + 1):
                            for column in (math.floor(x), math.floor(x) + 1):
                                if 0 <= row < h and 0 <= column < w:
                                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                                    out[n, q, head] += weights[n, q, head, level, point] * share * grid[row, column]
    return out.flatten(2)


def test_sampling_equals_its_definition():
    value, locations, weights = (x.detach() for x in sampling_inputs())
    torch.testing.assert_close(
        deformable_sampling(value, SHAPES, locations, weights), sample_point_by_point(value, locations, weights))


def test_sampling_equals_grid_sample_in_value_and_gradient():
    value, locations, weights = sampling_inputs()
    expected = 0
    maps = value.split([h * w for h, w in SHAPES], dim=1)
    for level, (x, (h, w)) in enumerate(zip(maps, SHAPES)):
        samples = nn.functional.grid_sample(
            x.permute(0, 2, 3, 1).reshape(-1, value.shape[-1], h, w),
            2 * locations[:, :, :, level].transpose(1, 2).flatten(0, 1) - 1,
            align_corners=False)
        expected = expected + (samples * weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
    expected = expected.view(value.shape[0], -1, locations.shape[1]).transpose(1, 2)
    found = deformable_sampling(value, SHAPES, locations, weights)
    torch.testing.assert_close(found, expected)

    direction = torch.randn_like(found)
    for a, b in zip(
            torch.autograd.grad(found, (value, locations, weights), direction),
            torch.autograd.grad(expected, (value, locations, weights), direction)):
        torch.testing.assert_close(a, b)


def test_sampling_gradients_equal_finite_differences():
    value, locations, weights = sampling_inputs(num=1, num_queries=2, num_heads=1, num_points=1, channels=2)
    assert torch.autograd.gradcheck(lambda *x: deformable_sampling(x[0], SHAPES, *x[1:]), (value, locations, weights))


def test_nan_points_affect_only_their_own_query():
    value, locations, weights = (x.detach() for x in sampling_inputs())
    locations[0, 0] = float('nan')
    locations[0, 1] = float('inf')
    found = deformable_sampling(value, SHAPES, locations, weights)
    assert found[1].isfinite().all() and found[0, 2].isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available() or mmcv_cuda_op() is None, reason='mmcv has no CUDA ops here')
@pytest.mark.parametrize('num', [1, 3, 65])
def test_sampling_equals_the_compiled_op(num):
    inputs = sampling_inputs(num=num, dtype=torch.float32, device='cuda')
    by_rows, compiled = sample_by_rows(inputs[0], SHAPES, *inputs[1:]), deformable_sampling(inputs[0], SHAPES,
                                                                                             *inputs[1:])
    torch.testing.assert_close(by_rows, compiled, rtol=1e-4, atol=1e-5)
    for a, b in zip(
            torch.autograd.grad(by_rows.square().sum(), inputs), torch.autograd.grad(compiled.square().sum(), inputs)):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_initial_attention_samples_one_direction_per_head_with_equal_weights():
    attention = MultiScaleDeformableAttention(embed_dims=16, num_heads=8, num_levels=3, num_points=4)
    offsets = attention.sampling_offsets(torch.randn(1, 1, 16)).view(8, 3, 4, 2)
    torch.testing.assert_close(offsets[0, 0], torch.tensor([[1., 0.], [2., 0.], [3., 0.], [4., 0.]]))
    torch.testing.assert_close(offsets[1, 2, 1], torch.tensor([2., 2.]))
    assert attention.attention_weights(torch.randn(1, 1, 16)).abs().max() == 0


def test_attention_has_the_parameters_of_mmcv():
    attention = MultiScaleDeformableAttention(embed_dims=32, num_heads=8, num_levels=3, num_points=4)
    shapes = {name: tuple(p.shape) for name, p in attention.named_parameters() if name.endswith('weight')}
    assert shapes == {
        'sampling_offsets.weight': (192, 32),
        'attention_weights.weight': (96, 32),
        'value_proj.weight': (32, 32),
        'output_proj.weight': (32, 32),
    }


def test_sine_encoding_has_its_closed_form():
    pe = sine_positional_encoding(3, 5, 8).view(3, 5, 8)
    y, x = 2 / (3 + 1e-6) * 2 * math.pi, 4 / (5 + 1e-6) * 2 * math.pi
    expected = [f(v / t) for v in (y, x) for t in (1, 100) for f in (math.sin, math.cos)]
    torch.testing.assert_close(pe[1, 3], torch.tensor(expected), rtol=1e-5, atol=1e-5)
    raw = sine_positional_encoding(3, 5, 8, normalize=False).view(3, 5, 8)
    assert raw[1, 3, 0].item() == pytest.approx(math.sin(2)) and raw[1, 3, 4].item() == pytest.approx(math.sin(4))


def test_sine_encoding_from_inference_mode_is_usable_in_training():
    with torch.inference_mode():
        sine_positional_encoding(2, 9, 8)
    weight = torch.ones(8, requires_grad=True)
    (sine_positional_encoding(2, 9, 8) * weight).sum().backward()
    assert weight.grad.isfinite().all()


def test_fused_attention_equals_torch_multihead_attention():
    torch.manual_seed(0)
    fused = MultiheadAttention(16, num_heads=4)
    reference = nn.MultiheadAttention(16, 4, batch_first=True)
    reference.load_state_dict(fused.state_dict())
    query, key, value = torch.randn(2, 3, 16), torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    attend = torch.rand(2, 1, 3, 5) > 0.5
    attend[..., 0] = True
    blocked = ~attend.expand(-1, 4, -1, -1).flatten(0, 1)
    expected = reference(query, key, value, attn_mask=blocked, need_weights=True)[0]
    torch.testing.assert_close(fused(query, key, value, attend), expected)


def test_keys_can_be_shared_by_the_batch():
    torch.manual_seed(0)
    attention = MultiheadAttention(16, num_heads=4)
    query, key = torch.randn(3, 4, 16), torch.randn(1, 5, 16)
    repeated = key.expand(3, -1, -1)
    torch.testing.assert_close(attention(query, key, key), attention(query, repeated, repeated))

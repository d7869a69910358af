"""Convert Swin Transformer: names of the authors, which detectron2 shares -> ``mmseg.SwinTransformer``."""
import re
from collections.abc import Mapping
from math import isqrt

import torch
from torch import Tensor

from .registry import Converter, Traits, register
from .rules import Conversion, Drop, Rename, apply_rules, check_depths

# Missing from an ImageNet checkpoint: the norms of the four outputs, and indices that the model computes.
ABSENT = r'norm\d\.(weight|bias)|.*\.relative_position_index'
POSITION_INDICES = Drop(r'.*\.relative_position_index', 'constant, computed from the window size')


def merge_reduction(weight: Tensor) -> Tensor:
    """Reorder the weight (out, 4C) of a patch merging: blocks (0,0), (1,0), (0,1), (1,1) -> the order of unfold."""
    out, channels = weight.shape
    return weight.view(out, 4, channels // 4)[:, [0, 2, 1, 3]].transpose(1, 2).reshape(out, channels)


def merge_norm(vector: Tensor) -> Tensor:
    """Reorder the norm (4C,) before it in the same way."""
    return merge_reduction(vector[None])[0]


def split_reduction(weight: Tensor) -> Tensor:
    """Invert :func:`merge_reduction`."""
    out, channels = weight.shape
    return weight.view(out, channels // 4, 4).transpose(1, 2)[:, [0, 2, 1, 3]].reshape(out, channels)


def split_norm(vector: Tensor) -> Tensor:
    """Invert :func:`merge_norm`."""
    return split_reduction(vector[None])[0]


def swin_rules(source: str = '', target: str = '') -> list[Rename | Drop]:
    """Make the rules for a Swin Transformer whose keys begin with ``source`` and shall begin with ``target``."""
    source = re.escape(source)
    block, ours = source + r'layers\.(\d)\.blocks\.(\d+)\.', target + r'stages.\1.blocks.\2.'
    downsample = source + r'layers\.(\d)\.downsample\.'
    return [
        Rename(source + r'patch_embed\.proj\.(\w+)', target + r'patch_embed.projection.\1'),
        Rename(source + r'patch_embed\.norm\.(\w+)', target + r'patch_embed.norm.\1'),
        Drop(block + r'attn\.relative_position_index', 'constant, computed from the window size'),
        Drop(block + 'attn_mask', 'constant, computed from the input size'),
        Rename(block + r'norm([12])\.(\w+)', ours + r'norm\3.\4'),
        Rename(block + r'attn\.(relative_position_bias_table|(?:qkv|proj)\.\w+)', ours + r'attn.w_msa.\3'),
        Rename(block + r'mlp\.fc1\.(\w+)', ours + r'ffn.layers.0.0.\3'),
        Rename(block + r'mlp\.fc2\.(\w+)', ours + r'ffn.layers.1.\3'),
        Rename(downsample + r'reduction\.weight', target + r'stages.\1.downsample.reduction.weight', merge_reduction,
               split_reduction),
        Rename(downsample + r'norm\.(\w+)', target + r'stages.\1.downsample.norm.\2', merge_norm, split_norm),
        Rename(source + r'norm(\d)\.(\w+)', target + r'norm\1.\2'),
    ]


RULES = [
    *swin_rules(),
    Drop(r'norm\.(weight|bias)', 'norm before the ImageNet classifier'),
    Drop(r'head\.(weight|bias)', 'ImageNet classifier'),
]


def convert_swin(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the weights of the authors' classification model for ``mmseg.SwinTransformer``."""
    return apply_rules(weights, RULES, 'swin')


def target_config(weights: Mapping[str, Tensor]) -> dict:
    """Derive the config of the backbone from converted weights."""
    depths = [0] * 4
    for key in weights:
        match = re.match(r'stages\.(\d)\.blocks\.(\d+)\.', key)
        if match:
            depths[int(match[1])] = max(depths[int(match[1])], int(match[2]) + 1)
    check_depths(depths, weights, 'swin')
    tables = [weights[f'stages.{stage}.blocks.0.attn.w_msa.relative_position_bias_table'] for stage in range(4)]
    return dict(
        type='mmseg.SwinTransformer',
        embed_dims=len(weights['patch_embed.projection.bias']),
        depths=depths,
        num_heads=[table.shape[1] for table in tables],
        window_size=_window_size(tables[0]))


def add_position_indices(conversion: Conversion) -> None:
    """Add the indices that each attention layer of ``mmseg.SwinTransformer`` keeps in its state dict."""
    for key in list(conversion.state_dict):
        if key.endswith('.relative_position_bias_table'):
            index = key.removesuffix('bias_table') + 'index'
            conversion.state_dict[index] = _position_index(_window_size(conversion.state_dict[key]))
            conversion.added[index] = 'computed from the window size'


def _window_size(table: Tensor) -> int:
    """Derive the edge of the window from a bias table (rows, heads), which has one row for each offset."""
    return (isqrt(len(table)) + 1) // 2


def _position_index(window: int) -> Tensor:
    """Compute the row of the bias table for each pair of pixels in a window: int64 (window^2, window^2)."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing='ij')
    y, x = y.flatten(), x.flatten()
    dy, dx = (offset[:, None] - offset + window - 1 for offset in (y, x))
    return dy * (2 * window - 1) + dx


register('swin', Converter(convert_swin, RULES, target_config, ABSENT, [POSITION_INDICES]),
         Traits(published=r'(backbone\.)?layers\.\d\.blocks\.', backbone=('Swin Transformer', 'backbone.stages.')))

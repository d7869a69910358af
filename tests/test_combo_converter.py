"""Checkpoints of COMBO: every key is used or dropped with a reason, and exported under the authors' names."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from test_converters import (
    BACKBONES,
    VGGISH_CHANNELS,
    backbone_shapes,
    linear,
    norm,
    randoms,
    vct_shapes,
    vggish_shapes,
)

from mmavs.apis import convert_checkpoint, export_checkpoint
from mmavs.checkpoint.converters import CONVERTERS, export_weights
from mmavs.checkpoint.converters.combo import convert_combo
from mmavs.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
EVERY_BACKBONE = pytest.mark.parametrize('backbone', ['r50', 'pvt-v2-b5'])


def combo_shapes(num_classes=2, backbone='r50'):
    """Names and shapes of the released COMBO, with few channels: what it shares with VCT, and its fusion."""
    dims, audio, head = 32, 128, 'sem_seg_head.'
    own = ('predictor.visual_query_block', 'audio_backbone', 'audio_transformation.embeddings.0', 'backbone.')
    shapes = {key: x for key, x in vct_shapes(num_classes, None).items() if not any(name in key for name in own)}
    for key, shape in backbone_shapes(backbone).items():
        shapes |= {key: shape, f'pre_sam_{key}': shape}
    shapes[f'{head}predictor.level_embed.weight'] = (3, dims)
    shapes |= {key: x for key, x in vggish_shapes('audio_backbone.', VGGISH_CHANNELS).items() if 'feat' in key}
    for index, sizes in ((0, (8, 24 * VGGISH_CHANNELS[-1])), (2, (8, 8)), (4, (audio, 8))):
        shapes |= linear(f'audio_backbone.embeddings.{index}', *sizes)
    shapes |= linear(f'{head}audio_transformation.embeddings.0', 40, audio)
    fusion = f'{head}fusion_module.'
    shapes |= {f'{fusion}audio_pos.weight': (1, audio), f'{fusion}level_embed.weight': (1, dims)}
    attention = f'{fusion}b_attn.'
    shapes |= {f'{attention}gamma_v_list.0': (dims, ), f'{attention}gamma_a': (audio, )}
    shapes |= norm(f'{attention}layer_norm_v_list.0', dims) | norm(f'{attention}layer_norm_a_list.0', audio)
    for name, sizes in dict(
            v_proj=(dims, dims), a_proj=(dims, audio), values_v_proj=(dims, dims), values_a_proj=(dims, audio),
            out_v_proj=(dims, dims), out_a_proj=(audio, dims)).items():
        shapes |= linear(f'{attention}attn_list.0.{name}', *sizes)
    return shapes


def combo_config(num_classes=2, backbone='r50'):
    backbone = BACKBONES[backbone]
    return dict(
        type='AudioVisualSegmentor',
        backbone=backbone,
        audio_backbone=dict(type='VGGish', channels=VGGISH_CHANNELS, hidden_dims=8),
        mask_prior=dict(type='MaskPriorBranch', backbone=backbone, channels=(8, 16, 32, 64), reduction=4),
        decode_head=dict(
            type='COMBOHead',
            num_classes=num_classes,
            audio_channels=128,
            pixel_decoder=dict(
                type='MSDeformAttnPixelDecoder', in_channels=(8, 16, 32, 64), embed_dims=32, num_layers=1,
                ffn_dims=48),
            criterion=dict(type='SetCriterion'),
            audio_hidden_dims=40,
            num_queries=5,
            num_layers=1,
            ffn_dims=56))


@EVERY_BACKBONE
def test_weights_fill_the_model_and_go_back_exactly(backbone):
    init_default_scope('mmavs')
    weights = randoms(combo_shapes(71, backbone))
    conversion = convert_combo(weights)
    MODELS.build(combo_config(71, backbone)).load_state_dict(conversion.state_dict, strict=True)
    assert conversion.used.keys() | conversion.dropped.keys() == weights.keys()
    assert list(conversion.dropped) == ['criterion.empty_weight']
    assert len(set(conversion.used.values())) == len(conversion.used)
    exported = export_weights('combo', conversion.state_dict).state_dict
    assert exported.keys() == weights.keys() - conversion.dropped.keys()
    assert all(torch.equal(x, weights[key]) for key, x in exported.items())


@EVERY_BACKBONE
@pytest.mark.parametrize('num_classes, subset', [(2, 's4'), (71, 'avss')])
def test_target_has_the_layout_of_the_released_code(backbone, num_classes, subset):
    weights = convert_combo(randoms(combo_shapes(num_classes, backbone))).state_dict
    target = CONVERTERS['combo'].target(weights)
    assert target == f'combo/combo_{backbone}_{subset}_as-released.py' and (CONFIGS / target).is_file()


def test_other_numbers_of_classes_are_an_error():
    with pytest.raises(ValueError, match='has 4 classes, expected 2 .S4, MS3. or 71 .AVSS.: name the config'):
        CONVERTERS['combo'].target(convert_combo(randoms(combo_shapes(4))).state_dict)


def test_file_goes_through_both_directions(tmp_path):
    (tmp_path / 'small.py').write_text(f'model = {combo_config()}\n')
    weights = randoms(combo_shapes())
    torch.save(dict(model=weights, iteration=7), tmp_path / 'model_best.pth')
    convert_checkpoint('combo', tmp_path / 'model_best.pth', tmp_path / 'ours.pth', tmp_path / 'small.py')
    export_checkpoint('combo', tmp_path / 'ours.pth', tmp_path / 'theirs.pth')
    theirs = torch.load(tmp_path / 'theirs.pth', weights_only=False)['model']
    assert all(torch.equal(x, weights[key]) for key, x in theirs.items())
    assert theirs.keys() == weights.keys() - {'criterion.empty_weight'}
    # Without it the authors' code takes the head for an early version, and loads only its predictor.
    assert theirs._metadata['sem_seg_head'] == dict(version=2)

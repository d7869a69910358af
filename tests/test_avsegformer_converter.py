"""Checkpoints of AVSegFormer: both versions and backbones are converted, and fit their own config only."""
import re
from pathlib import Path

import pytest
import test_avsegformer_head
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmavs.apis import convert_checkpoint, init_model
from mmavs.checkpoint.converters import CONVERTERS
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
CHANNELS = (8, 16, 32, 64)
BACKBONES = {
    'r50': dict(type='mmseg.ResNet', depth=50, stem_channels=2, base_channels=2),
    'pvt-v2-b5': dict(
        type='PVTv2', arch=dict(embed_dims=CHANNELS, depths=(1, ) * 4, num_heads=(1, ) * 4, mlp_ratios=(1, ) * 4)),
}
VERSIONS = {'': {}, '-v1': test_avsegformer_head.FIRST_VERSION}
# Our names -> those of the authors.
NAMES = [
    (r'backbone\.layer([34])\.', r'backbone.layer\1_1.'),
    (r'audio_backbone\.', 'vggish.'),
    (r'decode_head\.audio_proj\.', 'audio_proj.'),
    (r'decode_head\.(encoder|decoder)\.', r'head.transformer.\1.layers.'),
    (r'decode_head\.(query_generator\.layers\.\d)\.linear1', r'head.\1.ffn.0'),
    (r'decode_head\.(query_generator\.layers\.\d)\.linear2', r'head.\1.ffn.2'),
    (r'decode_head\.mixer\.', 'head.fusion_block.'),
    (r'decode_head\.mask_mlp\.', 'head.mlp.'),
    (r'decode_head\.mask_head\.', 'head.fc.'),
    (r'decode_head\.intermediate_head\.mask_head\.', 'head.attn_fc.'),
    (r'decode_head\.intermediate_head\.convs\.(\d)\.', lambda match: f'head.fpn.up{int(match[1]) + 1}.1.'),
    (r'decode_head\.', 'head.'),
]


def model_config(version='', backbone='r50', num_classes=1):
    head = dict(
        type='AVSegFormerHead',
        num_classes=num_classes,
        in_channels=CHANNELS,
        mask_loss=test_avsegformer_head.MASK_LOSS,
        embed_dims=32,
        num_queries=3,
        num_heads=2,
        num_encoder_layers=1,
        num_query_layers=1,
        num_decoder_layers=1,
        ffn_dims=8,
        query_ffn_dims=8,
        mask_dims=8)
    return dict(
        type='AudioVisualSegmentor',
        backbone=BACKBONES[backbone],
        audio_backbone=dict(type='VGGish', output='embedding', channels=(2, ) * 6, hidden_dims=8),
        decode_head={**head, **VERSIONS[version]})


def published(model):
    """State dict of a model under the authors' names, including unused weights."""
    weights = {}
    for key, x in model.state_dict().items():
        if key.startswith('decode_head.mask_mlp.') and x.ndim == 2:
            x = x[..., None, None]
        pattern, name = next(((old, new) for old, new in NAMES if re.match(old, key)), ('$', ''))
        weights[re.sub(f'^{pattern}', name, key)] = x
    unused = {
        key.replace('_1.', '_2.'): x
        for key, x in weights.items() if re.match(r'backbone\.layer[34]_1', key)
    }
    if 'head.query_generator.query.weight' in weights:
        unused |= {f'head.fpn.up{i}.1.{x}': torch.zeros(3) for i in (1, 2, 3) for x in ('weight', 'bias')}
        unused |= {key.replace('.fc.', '.attn_fc.'): x for key, x in weights.items() if key.startswith('head.fc.')}
    return weights | unused, unused


def build(*args):
    init_default_scope('mmavs')
    torch.manual_seed(0)
    return MODELS.build(model_config(*args))


def write_config(path, model, data='ms3_224_plain'):
    path.write_text(f"_base_ = '{CONFIGS}/_base_/datasets/{data}.py'\ndefault_scope = 'mmavs'\nmodel = {model}")
    return path


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('version', VERSIONS)
def test_published_weights_are_converted_and_loaded(tmp_path, version, backbone):
    model = build(version, backbone)
    weights, unused = published(model)
    torch.save({f'module.{key}': x for key, x in weights.items()}, tmp_path / 'theirs.pth')
    config = write_config(tmp_path / 'ms3.py', model_config(version, backbone))
    conversion = convert_checkpoint('avsegformer', tmp_path / 'theirs.pth', tmp_path / 'ours.pth', config)
    found = init_model(config, tmp_path / 'ours.pth').state_dict()
    expected = model.state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[key], x) for key, x in expected.items())
    assert conversion.dropped.keys() == unused.keys() and all(conversion.dropped.values())


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('version', VERSIONS)
def test_config_is_found_for_avss_and_requested_if_several_fit(version, backbone):
    target = CONVERTERS['avsegformer'].target
    name = f'avsegformer/avsegformer{version}_{backbone}'
    assert target(build(version, backbone, 71).state_dict()) == f'{name}_avss.py'
    sizes = ('', ) if version else ('-512', '')
    candidates = [f'configs/{name}{size}_{subset}.py' for size in sizes for subset in ('s4', 'ms3')]
    with pytest.raises(ValueError, match='name its config, --config') as error:
        target(build(version, backbone).state_dict())
    assert str(error.value).endswith(' or '.join(candidates))
    assert all((CONFIGS.parent / path).is_file() for path in [*candidates, f'configs/{name}_avss.py'])
    with pytest.raises(ValueError, match='3 output channels, expected 1 .* or 71'):
        target(build(version, backbone, 3).state_dict())


def test_an_unknown_key_is_an_error_that_names_it():
    weights, _ = published(build())
    with pytest.raises(ValueError, match='head.fusion_block.other.weight'):
        CONVERTERS['avsegformer'].convert(weights | {'head.fusion_block.other.weight': torch.zeros(1)})


@pytest.mark.parametrize(('theirs', 'ours', 'message'), [
    (('-v1', 'r50'), ('', 'r50'), 'it is of the first version of AVSegFormer, use a config avsegformer-v1_'),
    (('', 'r50'), ('-v1', 'r50'), 'it is of the second version of AVSegFormer, use a config avsegformer_'),
    (('', 'r50', 1), ('', 'r50', 71), r'mask_head.4.weight has 1 rows = 1 class \(.*\), the config says 71 classes'),
    (('-v1', 'r50', 71), ('-v1', 'r50', 1), 'mask_head.4.weight has 71 rows = 71 classes, the config says 1 class'),
    (('', 'r50'), ('', 'pvt-v2-b5'), 'Its backbone is a ResNet, that of the config a PVTv2: use the config of its'),
])
def test_version_classes_and_backbone_of_another_config_are_reported(tmp_path, theirs, ours, message):
    torch.save(published(build(*theirs))[0], tmp_path / 'theirs.pth')
    config = write_config(tmp_path / 'ours.py', model_config(*ours))
    with pytest.raises(ValueError, match=message):
        convert_checkpoint('avsegformer', tmp_path / 'theirs.pth', tmp_path / 'x.pth', config)
    assert not (tmp_path / 'x.pth').exists()
    torch.save(build(*theirs).state_dict(), tmp_path / 'converted.pth')
    with pytest.raises(ValueError, match=message):
        init_model(config, tmp_path / 'converted.pth')


def test_other_input_size_is_reported(tmp_path):
    torch.save(published(build())[0], tmp_path / 'theirs.pth')
    small, large = (
        write_config(tmp_path / f'{data}.py', model_config(), data) for data in ('s4_224_plain', 's4_512_plain'))
    convert_checkpoint('avsegformer', tmp_path / 'theirs.pth', tmp_path / 'x.pth', large)
    assert read_checkpoint(tmp_path / 'x.pth')['meta']['trained_for']['input_size'] == [512, 512]
    init_model(large, tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='frames of 512x512 .* the config has 224x224'):
        init_model(small, tmp_path / 'x.pth')


def test_unconverted_weights_are_reported(tmp_path):
    torch.save(published(build())[0], tmp_path / 'theirs.pth')
    with pytest.raises(ValueError, match='mmavs convert --from avsegformer SRC DST'):
        init_model(Config(dict(default_scope='mmavs', model=model_config())), tmp_path / 'theirs.pth')

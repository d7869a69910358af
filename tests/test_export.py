"""Export: weights of mmavs return to the names, the layout and the bits of the published files."""
import json
import re
from pathlib import Path

import pytest
import test_avsegformer_converter
import test_beats
import test_pvt_v2
import test_tpavi_head
import torch
from small_models import small_config
from test_converters import linear, norm, randoms, swin_shapes, vct_shapes, vggish_shapes
from test_parity import DIRECTORIES

from mmavs.apis import convert_checkpoint, export_checkpoint
from mmavs.checkpoint.converters import CONVERTERS, Rename, export_weights
from mmavs.checkpoint.reading import extract_state_dict, read_checkpoint
from mmavs.models import PVTv2
from mmavs.models.decode_heads.tpavi import TPAVIHead
from mmavs.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
# Of EfficientNet-Lite1 and -Lite2: those of Lite0 by 1.1 and 1.2, rounded up, except the first and last stage.
LITE1_DEPTHS = (1, 3, 3, 4, 4, 5, 1)


def avsegformer_weights(version, backbone):
    model = test_avsegformer_converter.build(version, backbone)
    return test_avsegformer_converter.published(model)[0]


def beats_weights():
    weights = test_beats.small().state_dict()
    name = 'encoder.layers.{}.self_attn.relative_attention_bias.weight'
    return weights | {name.format(1): weights[name.format(0)], 'predictor.bias': torch.zeros(5)}


def efficientnet_lite_weights(depths=(1, 2, 2, 3, 3, 4, 1), outputs=(16, 24, 40, 80, 112, 192, 320)):
    """The weights of EfficientNet-Lite under the names of efficientnet_pytorch, of Lite0 as in its paper's Table 1."""
    widths = (32, *(width for depth, width in zip(depths, outputs, strict=True) for _ in range(depth)))
    kernels = (kernel for depth, kernel in zip(depths, (3, 3, 5, 3, 5, 5, 3), strict=True) for _ in range(depth))
    shapes = {'_conv_stem.weight': (32, 3, 3, 3)} | batch_norm('_bn0', 32)
    for i, kernel in enumerate(kernels):
        block, inner = f'_blocks.{i}', widths[i] * (6 if i else 1)
        if i:
            shapes |= {f'{block}._expand_conv.weight': (inner, widths[i], 1, 1)} | batch_norm(f'{block}._bn0', inner)
        shapes |= {f'{block}._depthwise_conv.weight': (inner, 1, kernel, kernel)} | batch_norm(f'{block}._bn1', inner)
        shapes |= {f'{block}._project_conv.weight': (widths[i + 1], inner, 1, 1)}
        shapes |= batch_norm(f'{block}._bn2', widths[i + 1])
    head = outputs[-1]
    return randoms(shapes | {'_conv_head.weight': (8, head, 1, 1)} | batch_norm('_bn1', 8) | linear('_fc', 10, 8))


def batch_norm(name, channels):
    shapes = dict.fromkeys(('weight', 'bias', 'running_mean', 'running_var'), (channels, ))
    return {f'{name}.{key}': shape for key, shape in (shapes | dict(num_batches_tracked=())).items()}


def tpavi_weights():
    channels = test_tpavi_head.CHANNELS
    arch = dict(embed_dims=channels, depths=(1, ) * 4, mlp_ratios=(1, ) * 4, num_heads=(1, ) * 4)
    head = TPAVIHead(1, channels, test_tpavi_head.MASK_LOSS, embed_dims=test_tpavi_head.DIMS)
    return test_tpavi_head.published_weights(head, PVTv2(arch))


PUBLISHED = {
    'swin': lambda: randoms(swin_shapes() | linear('head', 10, 64) | norm('norm', 64)),
    'pvtv2': lambda: test_pvt_v2.published_weights() | {'head.weight': torch.ones(10, 32)},
    'vggish': lambda: randoms({key: (2, ) for key in vggish_shapes()} | {'pproc.pca_means': (128, 1)}),
    'beats': beats_weights,
    'tpavi': tpavi_weights,
    'efficientnet_lite': efficientnet_lite_weights,
    'efficientnet_lite1': lambda: efficientnet_lite_weights(LITE1_DEPTHS),
    'efficientnet_lite2': lambda: efficientnet_lite_weights(LITE1_DEPTHS, (16, 24, 48, 88, 120, 208, 352)),
    'vct ms3': lambda: randoms(vct_shapes(2, None)),
    'vct s4 pvt-v2-b5': lambda: randoms(vct_shapes(2, 23, backbone='pvt-v2-b5')),
    'vct avss r50': lambda: randoms(vct_shapes(71, 71, backbone='r50')),
    'avsegformer r50': lambda: avsegformer_weights('', 'r50'),
    'avsegformer pvt-v2-b5': lambda: avsegformer_weights('', 'pvt-v2-b5'),
    'avsegformer-v1 r50': lambda: avsegformer_weights('-v1', 'r50'),
    'avsegformer-v1 pvt-v2-b5': lambda: avsegformer_weights('-v1', 'pvt-v2-b5'),
}


def check_round_trip(name, weights):
    """Convert, export, convert again."""
    conversion = CONVERTERS[name].convert(weights)
    exported = export_weights(name, conversion.state_dict)
    assert_equal(exported.state_dict, {key: x for key, x in weights.items() if key not in conversion.dropped})
    assert exported.used.keys() | exported.dropped.keys() == conversion.state_dict.keys()
    assert all(key in conversion.added for key in exported.dropped)
    assert_equal(CONVERTERS[name].convert(exported.state_dict).state_dict, conversion.state_dict)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert [key for key, x in expected.items() if found[key].dtype != x.dtype or not torch.equal(found[key], x)] == []


@pytest.mark.parametrize('case', PUBLISHED)
def test_export_restores_published_weights_exactly(case):
    check_round_trip(case.split()[0].removesuffix('-v1'), PUBLISHED[case]())


@pytest.mark.parametrize(
    'directory', [x for x in DIRECTORIES if (x / 'spec.json').is_file()], ids=lambda directory: directory.name)
def test_export_restores_weights_of_released_models_exactly(directory):
    """All names and shapes of the authors' models; neighboring values differ, and so do tensors of one shape."""
    method = json.loads((directory / 'case.json').read_text())['method'].removesuffix('-v1')
    if method not in CONVERTERS:
        pytest.skip(f'no converter of {method}')
    shapes = json.loads((directory / 'spec.json').read_text())['state_dict']
    weights = {
        key: torch.arange(i, i + torch.Size(shape).numel(), dtype=torch.int32).view(shape)
        for i, (key, (shape, *_)) in enumerate(shapes.items())
    }
    check_round_trip(method, weights)


@pytest.mark.parametrize('config', [
    'vct/vct_swin-b_avss_mask-prior',
    'vct/vct_swin-b_ms3',
    'vct/vct_r50-224_s4',
    'avsegformer/avsegformer_pvt-v2-b5_avss',
    'avsegformer/avsegformer_r50_s4',
    'avsegformer/avsegformer-v1_pvt-v2-b5_ms3',
    'avsegformer/avsegformer-v1_r50_avss',
    'tpavi/tpavi_pvt-v2-b5_avss',
    'tpavi/tpavi_r50_ms3',
])
def test_conversion_restores_an_exported_model(tmp_path, config):
    name = config.split('/')[0]
    torch.manual_seed(0)
    model = MODELS.build(small_config(CONFIGS / f'{config}.py'))
    for x in model.parameters():
        x.data.normal_()
    trained = dict(model.state_dict())
    torch.save(dict(state_dict=trained, optimizer=dict(param_groups=[]), meta=dict(epoch=1)), tmp_path / 'epoch_1.pth')
    export_checkpoint(name, tmp_path / 'epoch_1.pth', tmp_path / 'theirs.pth')
    if name == 'tpavi':  # AVSBench has a separate audio model
        trained = {key: x for key, x in trained.items() if not key.startswith('audio_backbone.')}
    published = extract_state_dict(read_checkpoint(tmp_path / 'theirs.pth'), 'theirs.pth')
    assert_equal(CONVERTERS[name].convert(published).state_dict, trained)


@pytest.mark.parametrize(('name', 'key'), [
    ('vct', 'decode_head.early_fusion.audio_projs.0.weight'),
    ('avsegformer', 'decode_head.mixer.attn.in_proj_weight'),
    ('tpavi', 'decode_head.decoder.other.weight'),
    ('swin', 'backbone.patch_embed.norm.weight'),
    ('pvtv2', 'block5.0.norm1.weight'),
    ('beats', 'predictor.bias'),
    ('vggish', 'audio_backbone.features.0.bias'),
    ('efficientnet_lite', 'timm_model.blocks.2.2.bn1.weight'),
])
def test_a_key_without_counterpart_is_an_error_that_names_it(tmp_path, name, key):
    weights = next(make for case, make in PUBLISHED.items() if case.startswith(name))()
    ours = CONVERTERS[name].convert(weights).state_dict
    torch.save(dict(state_dict=ours | {key: torch.zeros(1)}), tmp_path / 'ours.pth')
    with pytest.raises(ValueError, match=rf'export to {name}: 1 of {len(ours) + 1} keys are not known \({key}\)'):
        export_checkpoint(name, tmp_path / 'ours.pth', tmp_path / 'theirs.pth')
    assert [path.name for path in tmp_path.iterdir()] == ['ours.pth']


def test_rule_is_reversed():
    rule = Rename(r'a\.layer([34])_1\.((?:(?:conv|bn)\d|shortcut)\.\w+)', r'b.layer\1.\2', torch.neg, torch.abs)
    back = rule.reversed()
    assert re.fullmatch(back.pattern, 'b.layer3.bn1.bias').expand(back.target) == 'a.layer3_1.bn1.bias'
    assert re.fullmatch(back.pattern, 'b.layer2.bn1.bias') is None
    assert re.fullmatch(back.pattern, 'b.layer3_bn1.bias') is None
    assert (back.convert, back.restore) == (torch.abs, torch.neg)


def test_tool_exports_a_vct_as_detectron2_reads_it(tmp_path, run_tool, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '200')
    weights = PUBLISHED['vct s4 pvt-v2-b5']()
    conversion = CONVERTERS['vct'].convert(weights)
    torch.save(dict(state_dict=conversion.state_dict), tmp_path / 'ours.pth')
    run_tool('model_converters/convert', '--to', 'vct', tmp_path / 'ours.pth', tmp_path / 'theirs.pth')
    assert f'{len(conversion.used)} used, 0 dropped' in capsys.readouterr().out
    saved = torch.load(tmp_path / 'theirs.pth', weights_only=True)
    assert saved.keys() == {'model'}
    assert_equal(saved['model'], {key: weights[key] for key in conversion.used})
    # Modules of this version keep their names.
    assert all(saved['model']._metadata[name]['version'] == 2 for name in ('sem_seg_head', 'sem_seg_head.predictor'))


def test_tool_requires_one_direction(tmp_path, run_tool, capsys):
    for options, message in (
        ([], 'one of the arguments --from --to is required'),
        (['--from', 'vct', '--to', 'vct'], 'not allowed with argument --from'),
        (['--to', 'vct', '--config', 'x.py'], '--config goes with --from'),
    ):
        with pytest.raises(SystemExit):
            run_tool('model_converters/convert', *options, tmp_path / 'a.pth', tmp_path / 'b.pth')
        assert message in capsys.readouterr().err


def test_a_beats_file_goes_through_both_directions_and_holds_its_architecture(tmp_path):
    source = test_beats.small()
    path = test_beats.published_file(tmp_path / 'published.pt', source)
    convert_checkpoint('beats', path, tmp_path / 'ours.pth')
    export_checkpoint('beats', tmp_path / 'ours.pth', tmp_path / 'theirs.pt')
    cfg = read_checkpoint(tmp_path / 'theirs.pt')['cfg']
    training = {'dropout', 'finetuned_model'}
    assert cfg == {key: value for key, value in test_beats.CFG.items() if key not in training}
    assert_equal(test_beats.with_weights_of(str(tmp_path / 'theirs.pt')).state_dict(), source.state_dict())

"""BEATs: front-end, positions, masks and published files."""
import math
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from small_models import loss_of, make_clip, predict, randomize_constant_init, small_config
from torchaudio.compliance import kaldi

from mmavs.apis import convert_checkpoint
from mmavs.checkpoint.compatibility import check_pretrained
from mmavs.checkpoint.converters import CONVERTERS
from mmavs.models import BEATs
from mmavs.models.audio_backbones.beats import relative_position_buckets
from mmavs.models.audio_backbones.filter_bank import KaldiFilterBank, kaldi_mel_filters
from mmavs.registry import MODELS

REPOSITORY = Path(__file__).parents[1]
SMALL = dict(patch_dims=8, embed_dims=16, num_layers=2, num_heads=2, ffn_dims=24, conv_size=4, conv_groups=2)
CFG = dict(
    input_patch_size=16, embed_dim=8, conv_bias=False, encoder_layers=2, encoder_embed_dim=16,
    encoder_ffn_embed_dim=24, encoder_attention_heads=2, activation_fn='gelu', layer_norm_first=False, deep_norm=True,
    dropout=0.1, conv_pos=4, conv_pos_groups=2, relative_position_embedding=True, num_buckets=320, max_distance=800,
    gru_rel_pos=True, finetuned_model=False)


def make_waveform(seconds, num_clips=1):
    generator = torch.Generator().manual_seed(0)
    return torch.empty(num_clips, int(16000 * seconds)).uniform_(-0.9, 0.9, generator=generator)


def small(**options):
    """A small model in evaluation mode whose parameters are all random, including those initialized as constants."""
    torch.manual_seed(0)
    model = BEATs(**dict(SMALL, **options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize('window', ['povey', 'hanning'])
def test_filter_bank_is_kaldis(window):
    waveform = make_waveform(1.3, num_clips=2) * 2**15
    waveform[1, 8000:12000] = 0
    rows = KaldiFilterBank(window)(waveform)
    for clip, found in zip(waveform, rows):
        expected = kaldi.fbank(clip[None], num_mel_bins=128, sample_frequency=16000, window_type=window)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_frame_may_have_several_examples_and_two_channels():
    one, three, stereo = small(), small(examples_per_frame=3), small(examples_per_frame=3, stereo=True)
    left, right = make_waveform(3.2, num_clips=2).unsqueeze(1)
    ends = torch.tensor([20000])
    for num_samples in (None, ends):
        of_left, of_right = (one(side, 3, num_samples).flatten(1, 2).unsqueeze(1) for side in (left, right))
        assert of_left.shape == (1, 1, 3 * 48, 16)
        torch.testing.assert_close(three(left, 1, num_samples), of_left)
        both = stereo(torch.stack((left, right), 1), 1, num_samples)
        assert both.shape[3] == stereo.embed_dims
        torch.testing.assert_close(both, torch.cat((of_left, of_right), 3))


def test_filter_bank_without_torchaudio_is_the_same(monkeypatch):
    filters = KaldiFilterBank('povey').mel_filters
    # As a torchaudio that does not fit torch: its import raises.
    monkeypatch.setitem(sys.modules, 'torchaudio.compliance.kaldi', None)
    torch.testing.assert_close(KaldiFilterBank('povey').mel_filters, filters, rtol=0, atol=1e-6)
    expected, _ = kaldi.get_mel_banks(128, 512, 16000., 20., 8000., 100., -500., 1.)
    torch.testing.assert_close(kaldi_mel_filters(), expected, rtol=0, atol=1e-6)


def test_mixed_precision_does_not_change_the_filter_bank():
    model, waveform = small(), make_waveform(1)
    with torch.autocast('cpu', torch.bfloat16):
        rows = model.filter_bank(waveform)
    torch.testing.assert_close(rows, model.filter_bank(waveform), rtol=0, atol=0)


@pytest.mark.parametrize(('num_buckets', 'max_distance'), [(320, 800), (32, 128)])
def test_buckets_follow_the_written_out_formula(num_buckets, max_distance):
    length, half = max_distance + 10, num_buckets // 2
    found = relative_position_buckets(length, num_buckets, max_distance)
    exact = half // 2
    expected = []
    for distance in range(-length + 1, length):
        magnitude = abs(distance)
        bucket = magnitude
        if magnitude >= exact:
            widening = math.log(magnitude / exact) / math.log(max_distance / exact) * (half - exact)
            bucket = min(half - 1, exact + math.floor(widening + 1e-6))
        expected.append(bucket + half * (distance > 0))
    for query in (0, 7, length - 1):
        begin = length - 1 - query
        assert found[query].tolist() == expected[begin:begin + length]
    assert found.max() == num_buckets - 1


def test_position_convolution_normalizes_each_step_of_its_kernel():
    conv = small().encoder.pos_conv[0]
    published = torch.nn.utils.parametrizations.weight_norm(
        torch.nn.Conv1d(16, 16, 4, padding=2, groups=2), dim=2)
    published.load_state_dict({
        'bias': conv.bias.detach(),
        'parametrizations.weight.original0': conv.weight_g.detach(),
        'parametrizations.weight.original1': conv.weight_v.detach()
    })
    x = torch.randn(2, 5, 16)
    expected = F.gelu(published(x.transpose(1, 2))[..., :5]).transpose(1, 2)
    torch.testing.assert_close(conv(x), expected)


def test_encoder_layer_is_the_written_out_one():
    model = small(num_layers=1)
    encoder, x = model.encoder, torch.randn(1, 6, 16)
    layer, attention, alpha = encoder.layers[0], encoder.layers[0].self_attn, 2**0.25

    def linear(module, value):
        return value @ module.weight.T + module.bias

    y = encoder.layer_norm(x + encoder.pos_conv(x))
    heads = []
    for head in range(2):
        q, k, v = (linear(proj, y)[0, :, 8 * head:8 * head + 8]
                   for proj in (attention.q_proj, attention.k_proj, attention.v_proj))
        u = linear(attention.grep_linear, q)
        gate_a, gate_b = u[:, :4].sum(1).sigmoid(), u[:, 4:].sum(1).sigmoid()
        gate = gate_a * (gate_b * attention.grep_a[0, head, 0, 0] - 1) + 2
        bias = attention.relative_attention_bias.weight[relative_position_buckets(6, 320, 800), head]
        heads.append((q @ k.T / math.sqrt(8) + gate[:, None] * bias).softmax(1) @ v)
    y = layer.self_attn_layer_norm(alpha * y + linear(attention.out_proj, torch.cat(heads, 1)[None]))
    y = layer.final_layer_norm(alpha * y + linear(layer.fc2, F.gelu(linear(layer.fc1, y))))
    torch.testing.assert_close(encoder(x, None), y)


def test_a_frame_has_48_tokens_of_its_own_second():
    model, waveform = small(), make_waveform(5, num_clips=2)
    tokens = model(waveform, 5)
    assert tokens.shape == (2, 5, 48, 16) and model.embed_dims == 16
    begin = int(3 * 0.96 * 16000)
    torch.testing.assert_close(tokens[:, 3:4], model(waveform[:, begin:begin + 15600], 1))
    torch.testing.assert_close(tokens[:, :2], model(waveform, 2))


def test_tokens_are_ordered_by_time_then_frequency():
    model = small()
    rows = torch.randn(1, 96, 128)
    embedded = []
    model.layer_norm.register_forward_hook(lambda module, args, output: embedded.append(args[0]))
    model.encode_filter_bank(rows)
    weight = model.patch_embedding.weight.flatten(1)
    for time, frequency in ((0, 0), (0, 7), (2, 3), (5, 7)):
        patch = rows[0, 16 * time:16 * time + 16, 16 * frequency:16 * frequency + 16]
        torch.testing.assert_close(embedded[0][0, 8 * time + frequency], weight @ patch.flatten())


def test_samples_after_the_end_of_the_audio_have_no_effect():
    model, waveform = small(), make_waveform(3, num_clips=2)
    num_samples = torch.tensor([20000, 48000])
    tokens = model(waveform, 3, num_samples)
    other = waveform.clone()
    other[0, 20000:] = 0.5
    torch.testing.assert_close(tokens, model(other, 3, num_samples))
    torch.testing.assert_close(tokens[1], model(waveform, 3)[1])
    # Clip 0 ends in the second frame, 4640 samples after its begin: in the second row of patches of 2560 samples.
    assert tokens[0, 1, :16].abs().amin(1).gt(0).all()
    assert not tokens[0, 1, 16:].any() and not tokens[0, 2].any()


def test_masked_padding_equals_shorter_input():
    model = small()
    rows = model.filter_bank(make_waveform(1))[:, :96]
    recorded = torch.zeros(1, 48, dtype=torch.bool)
    recorded[:, :24] = True
    rows_with_noise = torch.cat((rows[:, :48], 10 * torch.randn(1, 48, 128)), 1)
    tokens = model.encode_filter_bank(rows_with_noise, recorded)[:, :24]
    torch.testing.assert_close(tokens, model.encode_filter_bank(rows[:, :48]))


def test_a_waveform_that_ends_early_is_masked():
    model, waveform = small(), make_waveform(1.25)
    tokens = model(waveform, 3)
    padded = F.pad(waveform, (0, 48000 - 20000))
    torch.testing.assert_close(tokens, model(padded, 3, torch.tensor([20000])))
    assert tokens[0, 0].any() and not tokens[0, 2].any()


TOKEN_CONFIGS = sorted({*REPOSITORY.glob('configs/*/*_beats.py'), *REPOSITORY.glob('configs/*/*_ast.py')})


@pytest.mark.parametrize('path', TOKEN_CONFIGS, ids=lambda path: path.stem)
def test_configs_mark_the_end_of_short_audio(path):
    config = Config.fromfile(path)
    for split in ('train', 'val', 'test'):
        loader, = (x for x in config[f'{split}_dataloader'].dataset.pipeline if x.type == 'LoadAudio')
        assert loader.mark_end


@pytest.mark.parametrize('length', [0, 10, 80000])
def test_silence_of_any_length_is_finite(length):
    assert small()(torch.zeros(1, length), 5).isfinite().all()


def test_mixed_precision_is_close():
    model, waveform = small(), make_waveform(2)
    with torch.autocast('cpu', torch.bfloat16):
        tokens = model(waveform, 3)
    torch.testing.assert_close(tokens.float(), model(waveform, 3), rtol=0, atol=0.2)


def test_frozen_beats_records_no_gradient():
    model = BEATs(**SMALL).train()
    assert not model.training and not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model(make_waveform(1).requires_grad_(), 1).requires_grad


def test_tuned_beats_trains_every_parameter():
    model = small(frozen=False).train()
    assert model.training
    (model(make_waveform(2), 3) * torch.randn(16)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_log_mel_is_refused():
    with pytest.raises(ValueError, match=r"BEATs does not read VGGish's log-mel.*LoadAudio\(source='waveform'\)"):
        small()(torch.zeros(1, 5, 1, 96, 64), 5)


def test_stereo_is_refused():
    with pytest.raises(ValueError, match='BEATs is mono, but the waveforms are stereo'):
        small()(torch.zeros(1, 2, 16000), 1)


METHODS = [
    'vct/vct_r50-224_ms3_mask-prior', 'vct/act_swin-b_s4', 'avsegformer/avsegformer_r50_ms3',
    'avsegformer/avsegformer-v1_r50_ms3', 'tpavi/tpavi_r50_ms3', 'ravs/ravs_pvt-v2-b5_ms3'
]


@pytest.mark.parametrize('method', METHODS)
def test_every_method_uses_and_trains_beats(tmp_path, method):
    configs = REPOSITORY / 'configs'
    backbone = 'backbone=dict(audio_channels=_base_.audio_channels),' if method.startswith('ravs') else ''
    grid = 'audio_grid=_base_.audio_grid,' if method.startswith('vct') else ''
    (tmp_path / 'config.py').write_text(
        f"_base_ = ['{configs}/{method}.py', '{configs}/_base_/audio_backbones/beats.py']\n"
        'model = dict(audio_backbone=dict(_delete_=True, frozen=False, **_base_.audio_backbone),'
        f'{backbone} decode_head=dict({grid} audio_channels=_base_.audio_channels))\n')
    torch.manual_seed(0)
    model = MODELS.build(small_config(tmp_path / 'config.py'))
    randomize_constant_init(model)
    clip, sample = make_clip(model, 2)
    ends = [(dict(clip, num_samples=32000), sample), (dict(clip, num_samples=8000), sample)]
    loss_of(model.train(), ends).backward()
    for name, parameter in model.audio_backbone.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.any(), name
    assert predict(model, ends[1])[0].seg_logits.isfinite().all()


# ---- files ----


def published_file(path, model, finetuned=False, **cfg):
    """A file as the authors save it: the shared table in every layer, and a classifier if it is fine-tuned."""
    weights = dict(model.state_dict())
    name = 'encoder.layers.{}.self_attn.relative_attention_bias.weight'
    weights[name.format(1)] = weights[name.format(0)]
    content = dict(cfg=dict(CFG, finetuned_model=finetuned, **cfg), model=weights)
    if finetuned:
        weights.update({'predictor.weight': torch.zeros(5, 16), 'predictor.bias': torch.zeros(5)})
        content['label_dict'] = {i: f'/m/{i}' for i in range(5)}
    torch.save(content, path)
    return str(path)


def with_weights_of(path, **options):
    init_default_scope('mmavs')
    config = dict(SMALL, type='BEATs', init_cfg=dict(type='Pretrained', checkpoint=path), **options)
    model = MODELS.build(config)
    model.init_weights()
    return model


@pytest.mark.parametrize('finetuned', [False, True])
def test_published_file_is_loaded_unchanged(tmp_path, finetuned):
    source = small()
    path = published_file(tmp_path / 'BEATs.pt', source, finetuned)
    check_pretrained(source, path, 'backbone', 'audio_backbone')
    model = with_weights_of(path)
    for key, x in source.state_dict().items():
        torch.testing.assert_close(model.state_dict()[key], x, rtol=0, atol=0)


@pytest.mark.parametrize('finetuned', [False, True])
def test_a_converted_file_gives_the_same_tokens(tmp_path, finetuned):
    source = small()
    path = published_file(tmp_path / 'BEATs.pt', source, finetuned)
    conversion = convert_checkpoint('beats', path, tmp_path / 'converted.pth')
    assert conversion.state_dict.keys() == source.state_dict().keys()
    assert len(conversion.dropped) == (3 if finetuned else 1)
    model = with_weights_of(str(tmp_path / 'converted.pth'))
    torch.testing.assert_close(model(make_waveform(1), 1), source(make_waveform(1), 1))


def test_the_converter_finds_the_architecture_by_the_weights():
    target = CONVERTERS['beats'].target(small(num_buckets=64).state_dict())
    assert target == dict(SMALL, type='BEATs', num_buckets=64)


def test_a_cfg_that_disagrees_with_the_config_is_refused(tmp_path):
    path = published_file(tmp_path / 'BEATs.pt', small(), max_distance=128)
    with pytest.raises(ValueError, match=r'BEATs.pt: its cfg says max_distance=128, the config says '
                       r'max_distance=800: set audio_backbone.max_distance=128'):
        with_weights_of(path)
    assert with_weights_of(path, max_distance=128).architecture['max_distance'] == 128


def test_a_cfg_of_another_kind_of_model_is_refused(tmp_path):
    path = published_file(tmp_path / 'BEATs.pt', small(), gru_rel_pos=False)
    with pytest.raises(ValueError, match='BEATs.pt: its cfg says gru_rel_pos=False'):
        with_weights_of(path)
    with pytest.raises(ValueError, match='gru_rel_pos=False'):
        convert_checkpoint('beats', path, tmp_path / 'converted.pth')

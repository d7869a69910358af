"""AudioMAE: weights by the authors' names, the network beside a plain one, the frames of a clip."""
import argparse

import pytest
import torch
import torch.nn.functional as F
from torchaudio.compliance import kaldi

from mmavs.apis import convert_checkpoint, export_checkpoint
from mmavs.checkpoint.converters import CONVERTERS
from mmavs.models import AudioMAE

DIMS, LAYERS, HEADS, FFN = 16, 2, 2, 24
SMALL = dict(embed_dims=DIMS, num_layers=LAYERS, num_heads=HEADS, ffn_dims=FFN)


def published(kind='pretrained'):
    """Random weights with the names of the authors' model: the table of all 512 patches, and parts that are dropped."""
    generator = torch.Generator().manual_seed(3)
    shapes = {
        'cls_token': (1, 1, DIMS), 'pos_embed': (1, 513, DIMS),
        'patch_embed.proj.weight': (DIMS, 1, 16, 16), 'patch_embed.proj.bias': (DIMS, )}
    for i in range(LAYERS):
        for name, size in dict(norm1=(DIMS, ), norm2=(DIMS, )).items():
            shapes |= {f'blocks.{i}.{name}.weight': size, f'blocks.{i}.{name}.bias': size}
        for name, (n, m) in {'attn.qkv': (3 * DIMS, DIMS), 'attn.proj': (DIMS, DIMS), 'mlp.fc1': (FFN, DIMS),
                             'mlp.fc2': (DIMS, FFN)}.items():
            shapes |= {f'blocks.{i}.{name}.weight': (n, m), f'blocks.{i}.{name}.bias': (n, )}
    if kind == 'pretrained':
        others = ('norm.weight', 'norm.bias', 'decoder_embed.weight', 'mask_token', 'decoder_pos_embed',
                  'decoder_blocks.0.attn.qkv.weight', 'decoder_norm.bias', 'decoder_pred.weight')
    else:
        others = 'fc_norm.weight', 'fc_norm.bias', 'head.weight', 'head.bias'
    shapes |= dict.fromkeys(others, (DIMS, ))
    return {key: torch.randn(shape, generator=generator) * 0.3 for key, shape in shapes.items()}


def plain_tokens(w, rows, norm):
    """The published network, from its own names: pre-norm blocks, class token first, exact GELU, eps 1e-6."""
    def layer_norm(x, name):
        return F.layer_norm(x, (DIMS, ), w[f'{name}.weight'], w[f'{name}.bias'], 1e-6)

    def linear(x, name):
        return x @ w[f'{name}.weight'].T + w[f'{name}.bias']

    patches = rows.unfold(1, 16, 16).unfold(2, 16, 16).flatten(1, 2).flatten(2)  # time slowest, frequency fastest
    x = patches @ w['patch_embed.proj.weight'].flatten(1).T + w['patch_embed.proj.bias']
    x = x + w['pos_embed'][:, 1:1 + x.shape[1]]
    x = torch.cat(((w['cls_token'] + w['pos_embed'][:, :1]).expand(len(x), -1, -1), x), 1)
    for i in range(LAYERS):
        q, k, v = (y.unflatten(2, (HEADS, -1)).transpose(1, 2)
                   for y in linear(layer_norm(x, f'blocks.{i}.norm1'), f'blocks.{i}.attn.qkv').chunk(3, dim=2))
        attention = (q @ k.transpose(2, 3) / (DIMS // HEADS)**0.5).softmax(3) @ v
        x = x + linear(attention.transpose(1, 2).flatten(2), f'blocks.{i}.attn.proj')
        hidden = F.gelu(linear(layer_norm(x, f'blocks.{i}.norm2'), f'blocks.{i}.mlp.fc1'))
        x = x + linear(hidden, f'blocks.{i}.mlp.fc2')
    return layer_norm(x, norm)[:, 1:]


def small(**options):
    model = AudioMAE(**SMALL, **options).eval()
    model.load_state_dict(published())
    return model


def make_waveform(seconds, num_clips=1):
    return torch.empty(num_clips, int(16000 * seconds)).uniform_(-0.9, 0.9)


@pytest.mark.parametrize('kind, norm', [('pretrained', 'norm'), ('finetuned', 'fc_norm')])
@pytest.mark.parametrize('num_rows', [96, 1024])
def test_tokens_are_those_of_the_published_network(tmp_path, kind, norm, num_rows):
    weights = published(kind)
    # A file as the authors' training saves it.
    torch.save(dict(model=weights, epoch=32, optimizer=dict(state={}), args=argparse.Namespace(lr=1e-3)),
               tmp_path / 'published.pth')
    model = AudioMAE(**SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'published.pth')))
    model.init_weights()
    rows = torch.randn(2, num_rows, 128)
    tokens = model.eval().encode_filter_bank(rows)
    assert tokens.shape == (2, num_rows // 16 * 8, DIMS)
    torch.testing.assert_close(tokens, plain_tokens(weights, rows, norm), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('kind', ['pretrained', 'finetuned'])
def test_every_key_is_used_or_dropped_with_a_reason(kind):
    weights = published(kind)
    conversion = CONVERTERS['audiomae'].convert(weights)
    assert conversion.used.keys() | conversion.dropped.keys() == weights.keys()
    assert {key.split('.')[0].split('_')[0] for key in conversion.dropped} == (
        {'decoder', 'mask'} if kind == 'pretrained' else {'head'})
    target = CONVERTERS['audiomae'].target(conversion.state_dict)
    assert target == dict(SMALL, type='AudioMAE', num_heads=1)  # 64 channels a head in all published models
    with pytest.raises(ValueError, match=r'audiomae: 1 of .* keys are not known \(blocks.0.attn.other\)'):
        CONVERTERS['audiomae'].convert(weights | {'blocks.0.attn.other': torch.zeros(1)})


def test_weights_return_to_the_published_names(tmp_path):
    model = small()
    torch.save(model.state_dict(), tmp_path / 'ours.pth')
    export_checkpoint('audiomae', tmp_path / 'ours.pth', tmp_path / 'theirs.pth')
    theirs = torch.load(tmp_path / 'theirs.pth')
    theirs = theirs.get('model', theirs)
    expected = {key: x for key, x in published().items() if not key.startswith(('decoder', 'mask'))}
    torch.testing.assert_close(dict(theirs), expected, atol=0, rtol=0)
    convert_checkpoint('audiomae', tmp_path / 'theirs.pth', tmp_path / 'again.pth')


def test_filter_bank_is_that_of_the_authors():
    waveform = make_waveform(1.2)
    rows = kaldi.fbank(waveform - waveform.mean(), htk_compat=True, sample_frequency=16000, use_energy=False,
                       window_type='hanning', num_mel_bins=128, dither=0.0, frame_shift=10)
    torch.testing.assert_close(small().filter_bank(waveform)[0], (rows + 4.2677393) / (2 * 4.5689974),
                               atol=1e-4, rtol=1e-4)


def test_positions_without_a_checkpoint_tell_time_from_frequency():
    table = AudioMAE(embed_dims=16).pos_embed
    assert table.shape == (1, 513, 16) and not table[:, 0].any()
    grid = table[0, 1:].unflatten(0, (64, 8))  # time, frequency
    for axis, half in ((1, grid[..., :8]), (0, grid[..., 8:])):
        assert torch.equal(half, half.select(axis, 0).unsqueeze(axis).expand_as(half))
    assert len(table[0, 1:].unique(dim=0)) == 512


def test_a_frame_has_48_tokens_of_its_own_second():
    model, waveform = small(), make_waveform(5, num_clips=2)
    tokens = model(waveform, 5)
    assert tokens.shape == (2, 5, 48, DIMS) and model.embed_dims == DIMS
    begin = int(3 * 0.96 * 16000)
    torch.testing.assert_close(tokens[:, 3:4], model(waveform[:, begin:begin + 15600], 1))
    assert model(torch.zeros(1, 80000), 5).isfinite().all()


def test_frames_after_the_end_of_the_audio_have_zeros():
    model, waveform = small(), make_waveform(3)
    tokens = model(waveform, 3, torch.tensor([20000]))
    torch.testing.assert_close(tokens, model(waveform[:, :20000], 3))
    assert tokens[0, 1].any() and not tokens[0, 2].any()


def test_frame_may_have_two_channels():
    one, stereo = small(), small(stereo=True)
    left, right = make_waveform(2, num_clips=2).unsqueeze(1)
    both = stereo(torch.stack((left, right), 1), 2)
    assert both.shape == (1, 2, 48, stereo.embed_dims)
    torch.testing.assert_close(both, torch.cat((one(left, 2), one(right, 2)), 3))


def test_frozen_records_no_gradient_and_tuned_trains_all_but_the_positions():
    model = small().train()
    assert not model.training and not model(make_waveform(1), 1).requires_grad
    model = small(frozen=False).train()
    (model(make_waveform(1), 1) * torch.randn(DIMS)).sum().backward()
    names = dict(model.named_parameters())
    assert 'pos_embed' not in names
    assert [name for name, x in names.items() if x.grad is None or not x.grad.any()] == []


def test_log_mel_is_refused():
    with pytest.raises(ValueError, match="AudioMAE does not read VGGish's log-mel"):
        small()(torch.zeros(1, 5, 1, 96, 64), 5)

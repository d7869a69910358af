"""VGGish: log-mel front-end, embedding and conv output, freezing."""
import numpy as np
import pytest
import torch

from mmavs.models import VGGish

SMALL = (2, 3, 4, 4, 6, 6)


def make_waveform(seconds, num_clips=1):
    generator = torch.Generator().manual_seed(0)
    return torch.empty(num_clips, int(16000 * seconds)).uniform_(-0.9, 0.9, generator=generator)


def published_log_mel(waveform):
    """The formulas of VGGish in float64, one window at a time."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    edges = np.linspace(1127 * np.log(1 + 125 / 700), 1127 * np.log(1 + 7500 / 700), 66)
    bins = 1127 * np.log(1 + np.linspace(0, 8000, 257) / 700)
    filters = np.stack([np.interp(bins, edges[i:i + 3], [0, 1, 0], left=0, right=0) for i in range(64)], 1)
    filters[0] = 0
    rows = [
        np.log(np.abs(np.fft.rfft(waveform[start:start + 400] * window, 512)) @ filters + 0.01)
        for start in range(0, len(waveform) - 399, 160)
    ]
    num_examples = len(rows) // 96
    return np.reshape(rows[:96 * num_examples], (num_examples, 1, 96, 64))


@pytest.mark.parametrize('seconds', [1, 2.5])
def test_log_mel_follows_the_published_formula(seconds):
    waveform = make_waveform(seconds, num_clips=2)
    examples = VGGish(channels=SMALL, output='conv').log_mel_examples(waveform)
    assert examples.dtype == torch.float32
    for clip, clip_examples in zip(waveform, examples):
        expected = published_log_mel(clip.double().numpy())
        assert clip_examples.shape == expected.shape
        np.testing.assert_allclose(clip_examples.numpy(), expected, atol=2e-5)


@pytest.mark.parametrize(('seconds', 'num_examples'), [(0, 0), (0.97, 0), (0.975, 1), (1, 1), (5, 5), (10, 10)])
def test_number_of_examples(seconds, num_examples):
    examples = VGGish(channels=SMALL, output='conv').log_mel_examples(make_waveform(seconds))
    assert examples.shape == (1, num_examples, 1, 96, 64)


def test_mixed_precision_does_not_change_the_log_mel():
    model, waveform = VGGish(channels=SMALL, output='conv'), make_waveform(1)
    with torch.autocast('cpu', torch.bfloat16):
        examples = model.log_mel_examples(waveform)
    torch.testing.assert_close(examples, model.log_mel_examples(waveform), rtol=0, atol=0)


def test_conv_tokens_are_ordered_by_time_then_frequency():
    model = VGGish(output='conv', channels=SMALL)
    log_mel = torch.randn(2, 3, 1, 96, 64)
    tokens = model(log_mel, 3)
    assert tokens.shape == (2, 3, 24, model.embed_dims) and model.embed_dims == 6
    feature_map = model.features(log_mel[1, 2][None])[0]
    for time in range(6):
        for frequency in range(4):
            token = tokens[1, 2, 4 * time + frequency]
            torch.testing.assert_close(token, feature_map[:, time, frequency])


def test_embedding_is_one_token_with_channels_flattened_last():
    model = VGGish(channels=(1, 1, 1, 1, 1, 2), hidden_dims=6)
    assert [tuple(model.embeddings[i].weight.shape) for i in (0, 2, 4)] == [(6, 48), (6, 6), (128, 6)]
    log_mel = torch.randn(1, 2, 1, 96, 64)
    tokens = model(log_mel, 2)
    assert tokens.shape == (1, 2, 1, 128) and model.embed_dims == 128
    feature_map = model.features(log_mel[0])
    expected = model.embeddings(feature_map.permute(0, 2, 3, 1).reshape(2, -1))
    torch.testing.assert_close(tokens[0, :, 0], expected)


def test_parameter_names_are_those_of_torchvggish():
    names = {name.rpartition('.')[0] for name in VGGish(channels=SMALL).state_dict()}
    assert names == {f'features.{i}' for i in (0, 3, 6, 8, 11, 13)} | {f'embeddings.{i}' for i in (0, 2, 4)}


def test_conv_output_loads_a_file_with_embeddings():
    source = VGGish(channels=SMALL)
    VGGish(channels=SMALL, output='conv').load_state_dict(source.state_dict(), strict=True)


def test_waveform_and_its_log_mel_give_the_same_tokens():
    model, waveform = VGGish(channels=SMALL, output='conv'), make_waveform(3, num_clips=2)
    torch.testing.assert_close(model(waveform, 3), model(model.log_mel_examples(waveform), 3))


def test_examples_beyond_the_clip_are_not_computed():
    model, waveform = VGGish(channels=SMALL, output='conv'), make_waveform(5)
    sizes = []
    model.features.register_forward_hook(lambda module, args, output: sizes.append(len(output)))
    tokens = model(waveform, 5)
    torch.testing.assert_close(model(waveform, 2), tokens[:, :2])
    torch.testing.assert_close(model(model.log_mel_examples(waveform), 2), tokens[:, :2])
    assert sizes == [5, 2, 2]


def test_frames_beyond_the_waveform_get_silence():
    model = VGGish(channels=SMALL, output='conv')
    tokens = model(make_waveform(1), 3)
    assert tokens.shape == (1, 3, 24, 6) and tokens.isfinite().all()
    torch.testing.assert_close(tokens[0, 2:], model(torch.zeros(1, 16000), 1)[0])


def test_frames_beyond_the_log_mel_get_zeros():
    model = VGGish(channels=SMALL, output='conv')
    tokens = model(torch.randn(1, 1, 1, 96, 64), 2)
    torch.testing.assert_close(tokens[0, 1:], model(torch.zeros(1, 1, 1, 96, 64), 1)[0])


def test_frames_without_a_complete_example_get_zeros_if_num_samples_is_given():
    # The released code of AVSBench-semantic copies the n examples of the audio into zeros.
    model, waveform, ends = VGGish(channels=SMALL, output='conv'), make_waveform(4, num_clips=3), (16000, 46319, 46320)
    for end, row in zip(ends, waveform):
        row[end:] = 0
    tokens = model(waveform, 4, torch.tensor(ends))
    for clip, num_samples, complete in zip(range(3), ends, (1, 2, 3)):
        log_mel = model.log_mel_examples(waveform[clip:clip + 1, :num_samples])
        assert log_mel.shape[1] == complete
        torch.testing.assert_close(tokens[clip], model(log_mel, 4)[0])


@pytest.mark.parametrize('output', ['embedding', 'conv'])
def test_frame_with_several_examples_has_their_tokens_in_order(output):
    torch.manual_seed(0)
    model = VGGish(channels=SMALL, output=output, hidden_dims=6, examples_per_frame=3)
    one = VGGish(channels=SMALL, output=output, hidden_dims=6)
    one.load_state_dict(model.state_dict())
    waveform = make_waveform(6, num_clips=2)
    expected = one(waveform, 6)
    for audio in (waveform, one.log_mel_examples(waveform)):
        tokens = model(audio, 2)
        assert tokens.shape == (2, 2, 3 * expected.shape[2], model.embed_dims)
        torch.testing.assert_close(tokens.unflatten(2, (3, -1)).flatten(1, 2), expected, rtol=1e-6, atol=1e-6)


def test_single_frame_of_three_seconds_gets_all_except_the_last_tenth():
    torch.manual_seed(0)
    model = VGGish(channels=SMALL, output='conv', frozen=False, examples_per_frame=3)
    clip = make_waveform(3).requires_grad_()
    model(clip, 1).sum().backward()
    used = clip.grad[0] != 0
    assert used[:46320].float().mean() > 0.9 and used[46000:46320].any() and not used[46320:].any()


@pytest.mark.parametrize(('output', 'width'), [('embedding', 128), ('conv', 6)])
def test_stereo_concatenates_left_and_right(output, width):
    model = VGGish(channels=SMALL, output=output, hidden_dims=6, examples_per_frame=2, stereo=True)
    one = VGGish(channels=SMALL, output=output, hidden_dims=6, examples_per_frame=2)
    one.load_state_dict(model.state_dict())
    assert model.embed_dims == 2 * width
    stereo, ends = make_waveform(4, num_clips=6).unflatten(0, (3, 2)), torch.tensor([64000, 16000, 40000])
    for num_samples in (None, ends):
        tokens = model(stereo, 2, num_samples)
        sides = [one(stereo[:, side], 2, num_samples) for side in (0, 1)]
        torch.testing.assert_close(tokens, torch.cat(sides, 3), rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match=r"VGGish is stereo, but .* \(1, 16000\).*set audio_mode='stereo'"):
        model(make_waveform(1), 1)


@pytest.mark.parametrize('length', [0, 10, 80000])
def test_silence_of_any_length_is_finite(length):
    assert VGGish(channels=SMALL, output='conv')(torch.zeros(1, length), 5).isfinite().all()


def test_frozen_vggish_stays_frozen_in_training():
    model = VGGish(channels=SMALL, output='conv').train()
    assert not model.training and not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model(make_waveform(1).requires_grad_(), 1).requires_grad


def test_trainable_vggish_gets_gradients():
    model = VGGish(channels=SMALL, output='conv', frozen=False).train()
    assert model.training
    model(make_waveform(1), 1).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize('shape', [(16000, ), (1, 5, 96, 64), (1, 5, 1, 64, 96)])
def test_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r'waveforms \(B, L\) or log-mel'):
        VGGish(channels=SMALL, output='conv')(torch.zeros(shape), 1)


def test_unknown_output_is_refused():
    with pytest.raises(ValueError, match="output is 'map'"):
        VGGish(output='map')

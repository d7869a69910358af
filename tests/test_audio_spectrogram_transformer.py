"""AST, an audio encoder of the library transformers behind the interface of the audio backbones."""
import sys

import numpy as np
import pytest
import torch

from mmavs.models import AST
from mmavs.models.audio_backbones.audio_spectrogram_transformer import middle_positions
from mmavs.utils.errors import user_message

SMALL = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24)


@pytest.fixture
def transformers():
    return pytest.importorskip('transformers', reason='the optional library transformers is not installed')


def make_waveform(seconds, num_clips=1):
    generator = torch.Generator().manual_seed(0)
    return torch.empty(num_clips, int(16000 * seconds)).uniform_(-0.9, 0.9, generator=generator)


def small(**options):
    """A small model in evaluation mode whose parameters are all random."""
    torch.manual_seed(0)
    model = AST(arch=SMALL, **options).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def saved(transformers, directory, **arch):
    """A classifier as the library saves it, for 10.24 s of audio, with random positions."""
    torch.manual_seed(1)
    model = transformers.ASTForAudioClassification(transformers.ASTConfig(**dict(SMALL, **arch))).eval()
    torch.nn.init.normal_(model.audio_spectrogram_transformer.embeddings.position_embeddings)
    model.save_pretrained(directory)
    return model.audio_spectrogram_transformer


def test_frame_may_have_several_examples_and_two_channels(transformers):
    one, three, stereo = small(), small(examples_per_frame=3), small(examples_per_frame=3, stereo=True)
    left, right = make_waveform(3.2, num_clips=2).unsqueeze(1)
    of_left, of_right = (one(side, 3).flatten(1, 2).unsqueeze(1) for side in (left, right))
    assert of_left.shape == (1, 1, 3 * 108, 16)
    torch.testing.assert_close(three(left, 1), of_left)
    both = stereo(torch.stack((left, right), 1), 1)
    assert both.shape[3] == stereo.embed_dims
    torch.testing.assert_close(both, torch.cat((of_left, of_right), 3))


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ImportError, match="pip install 'transformers>=5'"):
        AST()


def test_without_the_library_a_tool_ends_in_one_line(monkeypatch, run_tool):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    message = r"^error: AST needs the package transformers, .*: pip install 'transformers>=5'$"
    with pytest.raises(SystemExit, match=message):
        run_tool('analysis_tools/get_flops', 'vct_swin-b_avss_ast')


def test_positions_are_cut_from_the_middle():
    steps = torch.arange(101.).repeat(12)[None, :, None]
    bands = torch.arange(12.).repeat_interleave(101)[None, :, None]
    positions = torch.cat((torch.full((1, 2, 2), -1.), torch.cat((steps, bands), 2)), 1)
    cut = middle_positions(positions, 12, 101, 9)
    assert cut.shape == (1, 2 + 12 * 9, 2) and (cut[:, :2] == -1).all()
    assert cut[0, 2:, 0].tolist() == list(range(46, 55)) * 12
    assert cut[0, 2:11, 1].unique().tolist() == [0]


def test_filter_bank_is_that_of_the_library(transformers):
    waveform = make_waveform(1.2)
    extractor = transformers.ASTFeatureExtractor(max_length=118)
    expected = extractor(waveform[0].numpy(), sampling_rate=16000, return_tensors='np')['input_values']
    np.testing.assert_allclose(small().filter_bank(waveform).numpy(), expected, atol=1e-4)


def test_a_frame_has_108_tokens_of_its_own_second(transformers):
    model, waveform = small(), make_waveform(5, num_clips=2)
    tokens = model(waveform, 5)
    assert model.grid == (9, 12) and tokens.shape == (2, 5, 108, 16) and model.embed_dims == 16
    begin = int(3 * 0.96 * 16000)
    torch.testing.assert_close(tokens[:, 3:4], model(waveform[:, begin:begin + 15600], 1))
    assert model(torch.zeros(1, 80000), 5).isfinite().all()


def test_tokens_are_ordered_by_time_then_frequency(transformers):
    model, rows = small(), torch.randn(1, 96, 128)
    patches = model.transformer.embeddings.patch_embeddings
    embedded = patches(rows)[0]
    published = model.transformer(rows).last_hidden_state[0, 2:]
    model.filter_bank = lambda waveform: rows
    tokens = model(torch.zeros(1, 15600), 1)[0, 0]
    weight = patches.projection.weight.flatten(1)
    for time, frequency in ((0, 0), (3, 11), (8, 2)):
        patch = rows[0, 10 * time:10 * time + 16, 10 * frequency:10 * frequency + 16]
        expected = weight @ patch.T.flatten() + patches.projection.bias
        torch.testing.assert_close(embedded[9 * frequency + time], expected)
        torch.testing.assert_close(tokens[12 * time + frequency], published[9 * frequency + time])


def test_frames_after_the_end_of_the_audio_have_zeros(transformers):
    model, waveform = small(), make_waveform(3)
    tokens = model(waveform, 3, torch.tensor([20000]))
    torch.testing.assert_close(tokens, model(waveform[:, :20000], 3))
    assert tokens[0, 1].any() and not tokens[0, 2].any()


def test_weights_come_from_a_local_directory(transformers, tmp_path):
    source = saved(transformers, tmp_path)
    model = AST(arch=SMALL, directory=str(tmp_path))
    model.init_weights()
    waveform = make_waveform(1)
    # The library's own model, told to use nine steps of its positions.
    positions = source.embeddings.position_embeddings.data[:, 2:].view(1, 12, 101, 16)[:, :, 46:55].flatten(1, 2)
    source.embeddings.position_embeddings.data = torch.cat(
        (source.embeddings.position_embeddings.data[:, :2], positions), 1)
    with torch.no_grad():
        expected = source(model.filter_bank(waveform)[:, :96]).last_hidden_state[:, 2:]
    expected = expected.view(1, 12, 9, 16).transpose(1, 2).reshape(1, 108, 16)
    torch.testing.assert_close(model(waveform, 1)[0], expected)


def test_directory_of_another_architecture_is_refused(transformers, tmp_path):
    with pytest.raises(FileNotFoundError, match='absent: no config.json there'):
        AST(arch=SMALL, directory=str(tmp_path / 'absent')).init_weights()
    saved(transformers, tmp_path / 'wide', intermediate_size=32)
    with pytest.raises(ValueError, match=r'intermediate_size=32 \(here 24\)'):
        AST(arch=SMALL, directory=str(tmp_path / 'wide')).init_weights()


def test_directory_of_another_model_is_refused(transformers, tmp_path):
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=16)
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match='vit'):
        AST(arch=SMALL, directory=str(tmp_path)).init_weights()


@pytest.mark.parametrize(('name', 'damage'), [
    ('config.json', lambda data: data[:50]), ('config.json', lambda data: b'[]'), ('config.json', lambda data: b'\xff'),
    ('config.json', lambda data: data.replace(b'"hidden_size": 16', b'"hidden_size": "x"')),
    ('model.safetensors', lambda data: data[:200]), ('model.safetensors', lambda data: b''),
    ('model.safetensors', lambda data: data[:-4] + b'\x00\x00\xc0\x7f')])
def test_a_damaged_directory_is_one_error_that_names_it(transformers, tmp_path, name, damage):
    saved(transformers, tmp_path)
    path = tmp_path / name
    content = damage(path.read_bytes())
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        AST(arch=SMALL, directory=str(tmp_path)).init_weights()
    assert str(tmp_path) in user_message(error.value)


def test_frozen_records_no_gradient_and_tuned_trains_every_parameter(transformers):
    model = small().train()
    assert not model.training and not model(make_waveform(1).requires_grad_(), 1).requires_grad
    model = small(frozen=False).train()
    (model(make_waveform(1), 1) * torch.randn(16)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_log_mel_is_refused(transformers):
    with pytest.raises(ValueError, match="AST does not read VGGish's log-mel"):
        small()(torch.zeros(1, 5, 1, 96, 64), 5)

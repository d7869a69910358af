"""Training, test and robustness test on synthetic VPO clips, mono and stereo, by the command-line tools."""
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mmavs.apis import inference_clip, init_model
from mmavs.synthesis import synthesize_clips

CONFIGS = Path(__file__).parents[1] / 'configs/ravs'
MONO, STEREO = (str(CONFIGS / f'ravs_tiny_synthetic-vpo{suffix}.py') for suffix in ('', '_stereo'))
SUBSETS = {MONO: 'vpo-ms', STEREO: 'vpo-msmi'}


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """Data root of each config."""
    root = tmp_path_factory.mktemp('vpo')
    return {config: synthesize_clips(root, subset, 4, 0, 5, size=64) for config, subset in SUBSETS.items()}


def options(root, **more):
    loaders = [f'{split}_dataloader' for split in ('train', 'val', 'test')]
    settings = {'dataset.data_root': root, 'num_workers': 0, 'persistent_workers': False, **more}
    return ['train_dataloader.batch_size=2', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
            'param_scheduler.1.end=21', 'default_hooks.checkpoint.interval=2', 'log_level=WARNING',
            *(f'{loader}.{key}={value}' for loader in loaders for key, value in settings.items())]


@pytest.mark.parametrize('config', [MONO, STEREO], ids=['mono', 'stereo'])
def test_vpo_models_train_and_are_tested_with_original_and_replaced_audio(config, clips, run_tool, tmp_path):
    arguments = ['--cfg-options', *options(clips[config])]
    run_tool('train', config, '--work-dir', tmp_path, *arguments)
    checkpoint = tmp_path / 'iter_2.pth'
    run_tool('test', config, checkpoint, '--work-dir', tmp_path, '--out', tmp_path / 'metrics.json', *arguments)
    metrics = json.loads((tmp_path / 'metrics.json').read_text())['scores']
    ddeseg, cavp = ({key.rpartition('/')[2]: value for key, value in metrics.items() if f'/{preset}/' in key}
                    for preset in ('ddeseg', 'cavp'))
    assert ddeseg.keys() == cavp.keys() == {'mIoU', 'mIoU_fg', 'F', 'F_fg', 'FDR', 'J&F'}
    # A class that occurs nowhere counts as 0 in the mIoU of CAVP only.
    assert cavp['F'] == ddeseg['F'] and 0 < cavp['mIoU'] <= ddeseg['mIoU'] < 1
    assert cavp['J&F'] == pytest.approx((cavp['mIoU'] + cavp['F']) / 2)

    kinds = ['silence', 'off-screen', 'mixture:0']
    run_tool('robustness', config, checkpoint, '--kinds', *kinds, '--out', tmp_path / 'robustness', *arguments)
    result, = json.loads((tmp_path / 'robustness/robustness.json').read_text())
    assert list(result['scores']) == list(result['clips']) == ['original', *kinds]
    assert result['clips']['original'] == result['clips']['silence'] == 5
    assert result['other_scores']['original'] == pytest.approx(metrics)
    assert set(result['g_scores']['per_kind']) == set(kinds) - {'mixture:0'}
    with open(tmp_path / 'robustness/manifest.csv') as file:
        rows = [row for row in csv.DictReader(file) if row['kind'] == 'off-screen']
    assert rows and all(row['class_overlap'] == 'disjoint' for row in rows)


@pytest.mark.parametrize('config', [MONO, STEREO], ids=['mono', 'stereo'])
def test_inference_on_an_image_takes_three_seconds_with_the_channels_of_the_model(config):
    torch.manual_seed(0)
    model = init_model(config, device='cpu')
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (1, 64, 80, 3), np.uint8)
    audio = rng.uniform(-0.5, 0.5, (3 * 16000, 2)).astype(np.float32)

    def scores(waveform):
        return inference_clip(model, frames, waveform, 16000, outputs=('seg_logits', )).seg_logits

    original = scores(audio)
    assert original.shape[0] == 1 and original.shape[2:] == (64, 80)
    assert torch.equal(scores(np.concatenate((audio, audio))), original)
    cut = audio.copy()
    cut[2 * 16000:] = 0
    assert not torch.equal(scores(cut), original)
    assert torch.equal(scores(audio[:, ::-1]), original) == (config == MONO)
    if config == STEREO:
        with pytest.raises(ValueError, match='expected .L, 2.: the model takes stereo'):
            scores(audio[:, 0])


def test_each_mistake_in_vpo_data_is_reported_as_one_error(run_tool, tmp_path):
    def error_of(config, root, **more):
        with pytest.raises(SystemExit) as error:
            run_tool('train', config, '--work-dir', tmp_path / 'work', '--cfg-options', *options(root, **more))
        message = str(error.value)
        assert message.startswith('error: ')
        return message

    cavp = synthesize_clips(tmp_path, 'vpo-ms', 4, 0, 2, size=32)
    clean = synthesize_clips(tmp_path, 'vpo-msmi', 4, 0, 2, size=32, layout='clean')
    # Stereo mode with mono files
    for path in clean.rglob('stereo_audio.wav'):
        waveform, rate = soundfile.read(path)
        soundfile.write(path, waveform.mean(1), rate)
    message = error_of(STEREO, clean, **{'dataset.layout': 'clean'})
    assert 'stereo_audio.wav: the audio has 1 channel(s), expected 2 for stereo' in message
    # A model for stereo with mono audio, and the reverse
    mono = {'dataset.subset': 'vpo-ms', 'dataset.audio_mode': 'mono'}
    assert "set audio_mode='stereo' in the dataset" in error_of(STEREO, cavp, **mono)
    assert 'the waveforms are stereo: set audio_mode=' in error_of(MONO, cavp, **{'dataset.audio_mode': 'stereo'})
    # A missing audio file
    audio = sorted(cavp.rglob('*.wav'))[0]
    content = audio.read_bytes()
    audio.unlink()
    assert f'{audio.name} is missing' in error_of(MONO, cavp)
    audio.write_bytes(content)
    # A missing column
    table = cavp / 'VPO/VPO-MS/vpo_ms_data_stereo.csv'
    table.write_text(table.read_text().replace('vgg_file', 'audio', 1))
    assert "vpo_ms_data_stereo.csv: no column 'vgg_file', found" in error_of(MONO, cavp)

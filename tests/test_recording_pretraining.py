"""The tool that pretrains the audio backbone on recordings: its file initializes a backbone."""
import re

import pytest
import torch
from test_cutouts import directory  # noqa: F401

from mmavs.models.audio_backbones import VGGish
from mmavs.synthesis.cutouts import read_cutouts
from mmavs.synthesis.recording_pretraining import RecordedSeconds

OPTIONS = dict(channels=(4, 4, 8, 8, 8, 16), hidden_dims=16)


def write_config(path, audio_backbone):
    path.write_text(f'model = dict(audio_backbone=dict({audio_backbone}))\n')
    return path


def test_tool_writes_weights_that_initialize_a_backbone(directory, run_tool, tmp_path, capsys):  # noqa: F811
    file = tmp_path / 'audio.pth'
    config = write_config(tmp_path / 'config.py', f"type='VGGish', frozen=True, **{OPTIONS}")
    run_tool('pretrain_audio', file, '--cutouts', directory, '--hold-out', 0, '--steps', 4, '--config', config)
    assert re.search(r'classes: 0\.\d+, with held-out recordings [01]\.\d+', capsys.readouterr().out)
    backbone = VGGish(output='embedding', init_cfg=dict(type='Pretrained', checkpoint=str(file)), **OPTIONS)
    backbone.init_weights()
    stored = torch.load(file, weights_only=True)
    assert tuple(stored['meta']['classes']) == ('bell', 'horn', 'owl') and stored['meta']['steps'] == 4
    assert all(torch.equal(value, stored['state_dict'][key]) for key, value in backbone.state_dict().items())


def test_tool_refuses_another_audio_backbone(directory, run_tool, tmp_path):  # noqa: F811
    config = write_config(tmp_path / 'config.py', "type='BEATs'")
    with pytest.raises(SystemExit, match='the audio backbone is BEATs, expected a VGGish'):
        run_tool('pretrain_audio', tmp_path / 'audio.pth', '--cutouts', directory, '--config', config)


def test_held_out_recordings_are_drawn_with_their_classes(directory):  # noqa: F811
    cutouts = read_cutouts(directory)
    several = [name for name, items in cutouts.sounding.items() if len(items) > 1]
    held_out = RecordedSeconds(cutouts, 0, split='test')
    assert held_out.classes == several and len(held_out.tracks) == len(several) > 0
    assert RecordedSeconds(cutouts, 0).classes == list(cutouts.categories)

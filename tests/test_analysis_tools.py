"""The scripts of tools/analysis_tools that inspect data, logs and models."""
import csv
import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[1]
TINY = REPOSITORY / 'configs/vct/vct_tiny_synthetic.py'


# ---- get_flops.py ----


def test_flops_of_an_outline_are_those_of_the_model():
    import torch
    from mmengine.registry import init_default_scope

    from mmavs.analysis.complexity import count_flops, count_parameters, model_complexity
    from mmavs.analysis.random_clips import random_clips
    from mmavs.registry import MODELS
    from mmavs.utils.config import load_config
    config = load_config(str(TINY))
    init_default_scope('mmavs')
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    complexity = model_complexity(config, num_frames=2)
    assert complexity.size == (96, 96)
    assert complexity.parameters[''] == count_parameters(model)
    assert complexity.flops == count_flops(model, random_clips(model, (96, 96), num_frames=2))
    without = complexity.without('audio_backbone')
    assert without[0] == complexity.parameters[''] - count_parameters(model.audio_backbone)
    assert without[1] == complexity.flops[''] - complexity.flops['audio_backbone']


def test_flops_are_printed_with_and_without_the_branches(run_tool, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    run_tool('analysis_tools/get_flops', 'vct_r50_224_mask-prior_s4', '--frames', 1)
    lines = {line.split('│')[1].strip(): [cell.strip() for cell in line.split('│')[2:-1]]
             for line in capsys.readouterr().out.splitlines() if line.count('│') == 5}
    whole, plain = (float(lines[name][1]) for name in ('all', 'without either'))
    branches = [float(lines[name][1]) for name in ('audio_backbone', 'mask_prior')]
    assert plain == pytest.approx(whole - sum(branches), abs=0.2) and min(branches) > 1


def test_numbers_are_written_into_a_metafile_and_nothing_else(run_tool, tmp_path):
    text = (
        '# A comment\nModels:\n  - Name: tiny\n    In Collection: X\n    Config: configs/vct/vct_tiny_synthetic.py\n'
        '    Metadata:\n      FLOPs: 1\n      Training Data: none  # kept\n  - Name: other\n'
        '    Config: configs/vct/act_tiny_synthetic.py\n    Metadata:\n      Training Data: none\n')
    metafile = tmp_path / 'metafile.yml'
    metafile.write_text(text)
    run_tool('analysis_tools/get_flops', '--metafile', metafile)
    lines = metafile.read_text().splitlines()
    kept = [line for line in lines if 'Parameters' not in line and 'FLOPs' not in line]
    assert kept == [line for line in text.splitlines() if 'FLOPs' not in line]
    parameters = [int(line.split(': ')[1]) for line in lines if 'Parameters' in line]
    assert len(parameters) == 2 and 1e6 < parameters[0] < 2e6
    run_tool('analysis_tools/get_flops', '--metafile', metafile)
    assert metafile.read_text().splitlines() == lines


# ---- browse_dataset.py ----


def test_clips_are_drawn_after_the_pipeline(run_tool, synthetic_root, tmp_path, capsys):
    arguments = ('tests/configs/vct_tiny_s4.py', '--number', 2, '--first', 1, '--cfg-options',
                 f"train_dataloader.dataset.data_root={synthetic_root / 'Single-source'}")
    runs = []
    for directory in ('first', 'second'):
        run_tool('analysis_tools/browse_dataset', REPOSITORY / arguments[0], '--out-dir', tmp_path / directory,
                 *arguments[1:])
        files = sorted((tmp_path / directory).glob('*.png'))
        assert [file.name.split('_')[0] for file in files] == ['00001', '00002']
        runs.append([cv2.imread(str(file)) for file in files])
    assert str(files[0]) in capsys.readouterr().out
    for first, second in zip(*runs):
        assert first.shape[0] > 200 and first.std() > 10
        np.testing.assert_array_equal(first, second)
    with pytest.raises(SystemExit, match='--first 99: the split train has 6 clips'):
        run_tool('analysis_tools/browse_dataset', REPOSITORY / arguments[0], '--first', 99, *arguments[5:])


# ---- analyze_logs.py ----


def write_log(directory, lines):
    log = directory / 'vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(''.join(line if isinstance(line, str) else json.dumps(line) + '\n' for line in lines))
    return log


def test_logs_of_a_resumed_training_are_merged(run_tool, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '120')
    train = [dict(loss=float(10 - step), time=0.5, data_time=0.1, iter=step, step=step) for step in range(1, 6)]
    write_log(tmp_path / '20260101_000000', [*train, '{"loss": 3.0, "st'])
    write_log(tmp_path / '20260102_000000', [
        dict(loss=2., time=0.5, data_time=0.1, step=5), dict([('avsbench/M_J', 0.25), ('time', 9.), ('step', 5)]),
        dict([('avsbench/M_J', 0.9), ('step', 0)])])
    run_tool('analysis_tools/analyze_logs', tmp_path, '--out', tmp_path / 'curves.png')
    output = capsys.readouterr().out
    cells = {line.split('│')[1].strip(): [x.strip() for x in line.split('│')[2:-1]]
             for line in output.splitlines() if line.count('│') == 9}
    assert cells['loss'] == ['5', '9', '2', '2', '5', '9', '1']
    assert cells['avsbench/M_J'] == ['1', '0.25', '0.25', '0.25', '5', '0.25', '5']
    assert '0.500 s for an iteration' in output
    assert cv2.imread(str(tmp_path / 'curves.png')).std() > 5


def test_files_that_are_not_logs_are_refused(run_tool, tmp_path):
    with pytest.raises(SystemExit, match='neither a scalars.json nor a work directory'):
        run_tool('analysis_tools/analyze_logs', tmp_path)
    log = write_log(tmp_path, ['no json\n', dict(step=1)])
    with pytest.raises(SystemExit, match='scalars.json: line 1 is not a record of MMEngine'):
        run_tool('analysis_tools/analyze_logs', log)
    log.write_text('{"loss": 1.0, "step": 1}\n')
    with pytest.raises(SystemExit, match='los is in none of the logs, which hold loss'):
        run_tool('analysis_tools/analyze_logs', log, '--keys', 'los')


# ---- benchmark.py, print_rows.py, gpu_check.sh ----


def test_rows_say_how_they_were_measured(run_tool, tmp_path, capsys):
    rows_file = tmp_path / 'rows.csv'
    arguments = (TINY, '--frames', 1, '--repeats', 1, '--device', 'cpu', '--out', rows_file)
    run_tool('analysis_tools/benchmark', *arguments, '--mode', 'predict')
    run_tool('analysis_tools/benchmark', *arguments, '--amp', 'bf16', '--channels-last')
    rows = list(csv.DictReader(rows_file.open()))
    assert [(row['mode'], row['precision'], row['channels_last']) for row in rows] == [
        ('predict', 'fp32', 'False'), ('predict', 'bf16', 'True'), ('train', 'bf16', 'True')]
    for row in rows:
        assert all(row[key] for key in ('hardware', 'torch', 'mmcv', 'mmengine', 'python', 'date', 'command'))
        assert float(row['frames_per_second']) == pytest.approx(1 / float(row['seconds']), rel=0.05)
    capsys.readouterr()
    run_tool('analysis_tools/print_rows', rows_file)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('Stamp: hardware ') and sum(line.startswith('| /') for line in lines) == 3
    (tmp_path / 'other.csv').write_text('a,b\n1,2\n')
    with pytest.raises(SystemExit, match='other.csv: has the columns a, b'):
        run_tool('analysis_tools/benchmark', *arguments[:-1], tmp_path / 'other.csv', '--mode', 'predict')
    with pytest.raises(SystemExit, match='other.csv: lacks the columns'):
        run_tool('analysis_tools/print_rows', tmp_path / 'other.csv')


def test_precisions_of_deformable_attention_agree(run_tool, capsys):
    run_tool('analysis_tools/compare_deformable_attention', '--device', 'cpu', '--size', 96, '--frames', 1)
    assert 'gradient of locations' in capsys.readouterr().out


def test_the_gpu_check_is_a_valid_script_of_tools_that_exist():
    script = REPOSITORY / 'tools/gpu_check.sh'
    assert subprocess.run(['bash', '-n', str(script)], capture_output=True, text=True).stderr == ''
    named = {word for word in script.read_text().split() if word.startswith(('tools/', 'tests/')) and '.' in word}
    assert len(named) >= 7 and all((REPOSITORY / name).exists() for name in named), named

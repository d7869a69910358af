"""The scripts of tools/analysis_tools that inspect data, logs and models."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmavs.visualization.confusion_figure import normalize_confusion

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
    run_tool('analysis_tools/get_flops', 'vct_r50-224_s4_mask-prior', '--frames', 1)
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


def test_clips_are_rendered_after_the_pipeline(run_tool, synthetic_root, tmp_path, capsys):
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
    log.write_text('{"loss": 1.0, "step": [1]}\n{"step": 1}\n')
    with pytest.raises(SystemExit, match='scalars.json: line 1 is not a record of MMEngine with a step'):
        run_tool('analysis_tools/analyze_logs', log)
    log.write_text('{"loss": 1.0, "step": 1, "time": 0.5}\n')
    run_tool('analysis_tools/analyze_logs', log)  # without the time of the data
    log.write_text('{"loss": 1.0, "step": 1}\n')
    with pytest.raises(SystemExit, match='los is in none of the logs, which hold loss'):
        run_tool('analysis_tools/analyze_logs', log, '--keys', 'los')


# ---- confusion_matrix.py ----


def test_confusion_matrix_is_normalized_and_drawn_for_some_classes(run_tool, tmp_path):
    matrix = [[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    fractions = normalize_confusion(matrix, 'true')
    assert fractions[:2, :2].tolist() == [[0.75, 0.25], [0.25, 0.75]] and np.isnan(fractions[2]).all()
    assert normalize_confusion(matrix, 'predicted')[0, 0] == 6 / 7
    assert normalize_confusion(matrix, 'all')[1, 1] == 3 / 12
    report = dict(details=dict(dataset=dict(metric='DatasetMetric', classes=['background', 'cat', 'dog', 'harp'],
                                            confusion_matrix=matrix)))
    (tmp_path / 'metrics.json').write_text(json.dumps(report))
    sizes = []
    for classes in ([], ['--classes', 'cat', 'background', 'dog']):
        run_tool('analysis_tools/confusion_matrix', tmp_path / 'metrics.json', '--out', tmp_path / 'out.png', *classes)
        with Image.open(tmp_path / 'out.png') as image:
            sizes.append(image.size)
    assert sizes[0] < sizes[1]  # two classes occur
    with pytest.raises(SystemExit, match='error: --classes: cow: not among the classes'):
        run_tool('analysis_tools/confusion_matrix', tmp_path / 'metrics.json', '--out', tmp_path / 'out.png',
                 '--classes', 'cow')
    del report['details']['dataset']['confusion_matrix']
    (tmp_path / 'metrics.json').write_text(json.dumps(report))
    with pytest.raises(SystemExit, match='holds no confusion matrix, found DatasetMetric'):
        run_tool('analysis_tools/confusion_matrix', tmp_path / 'metrics.json', '--out', tmp_path / 'out.png')

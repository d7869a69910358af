"""Robustness test: scores computed by hand, the test of a model, the figure."""
import csv
import json
import os
from copy import deepcopy
from math import isnan, sqrt

import numpy as np
import pytest
import torch
from PIL import Image

from mmavs.analysis.audio_ablation import audio_ablation
from mmavs.analysis.robustness import (
    RobustnessResult,
    g_score_table,
    group_by_name,
    read_results,
    robustness_test,
    score_table,
)
from mmavs.datasets.wrappers.audio_conditions import AudioCondition
from mmavs.engine.launch import build_runner
from mmavs.evaluation import AVSBenchMetric, RobustnessMetric
from mmavs.evaluation.functional.avsbench import binary_scores
from mmavs.evaluation.functional.robustness import area_averages, g_scores, harmonic_mean, summarize_g_scores
from mmavs.utils.config import load_config
from mmavs.visualization.robustness_figure import draw_robustness

CONFIG = os.path.abspath('tests/configs/vct_tiny_s4.py')


def test_harmonic_mean_gives_the_published_g_miou():
    # VCT on S4: mIoU 86.20 with the original audio, the same with negative audio, G-mIoU 23.79.
    assert harmonic_mean(0.862, 1 - 0.862) == pytest.approx(0.2379, abs=5e-5)
    assert harmonic_mean(0.5, 0.5) == 0.5 and harmonic_mean(1, 0) == harmonic_mean(0, 0) == 0


def test_area_averages_by_hand():
    # Pixels of a frame: predicted, predicted and true, true, all.
    first = torch.tensor([[4, 2, 6, 16], [0, 0, 4, 16]])
    second = torch.tensor([[8, 0, 0, 16]])
    scores = area_averages([first, second])
    # Frame 3 has no ground truth. IoU 2/8 and 0; precision 2/4, recall 2/6.
    assert scores['mIoU'] == pytest.approx((2 / 8 + 0) / 2)
    precision, recall = 2 / 4, 2 / 6
    assert scores['F'] == pytest.approx(1.3 * precision * recall / (0.3 * precision + recall) / 2)
    assert scores['foreground_share'] == pytest.approx((4 + 0 + 8) / 48)
    assert scores['nonempty_rate'] == pytest.approx(2 / 3)
    assert scores['pixel_FPR'] == pytest.approx((2 / 10 + 0 / 12 + 8 / 16) / 3)
    # The foreground fractions of the clips are 4/32 and 8/16.
    assert scores['S'] == pytest.approx((sqrt(4 / 32) + sqrt(8 / 16)) / 2)


def test_averages_leave_out_undefined_scores():
    scores = area_averages([torch.tensor([[16, 16, 16, 16], [0, 0, 0, 16]]), torch.zeros(0, 4, dtype=torch.int64)])
    assert scores['mIoU'] == scores['F'] == 1 and scores['pixel_FPR'] == 0
    assert scores['S'] == pytest.approx(sqrt(.5))
    assert isnan(area_averages([torch.tensor([[1, 0, 0, 16]])])['mIoU'])


def test_areas_are_counted_at_threshold_one_half():
    prob = torch.tensor([[[0.5, 0.51], [1, 0]], [[0.6, 0], [0, 0]]])
    gt = torch.tensor([[[1, 1], [1, 0]], [[0, 0], [0, 0]]])
    assert binary_scores(prob, gt).areas.tolist() == [[2, 2, 3, 4], [1, 0, 0, 4]]


def sample(name, prob, gt, **flags):
    return dict(clip_id=name, foreground_prob=prob, gt_sem_seg=gt, **flags)


def random_clips(count):
    generator = torch.Generator().manual_seed(0)
    for i in range(count):
        gt = (torch.rand(3, 6, 6, generator=generator) > 0.6).byte()
        gt[i % 3] = 0
        yield sample(f'clip {i}', torch.rand(3, 6, 6, generator=generator), gt)


def test_metric_adds_to_the_avsbench_scores_and_drops_repeated_clips():
    clips = list(random_clips(5))
    scores = {}
    for metric in (AVSBenchMetric(batch_size=2), RobustnessMetric(batch_size=2)):
        for clip in [*clips, clips[0]]:  # a distributed sampler repeats the first clips at the end
            metric.process(None, [clip])
        scores[metric.default_prefix] = metric.evaluate(5)
    assert all(scores['robustness'][key.replace('avsbench', 'robustness')] == value
               for key, value in scores['avsbench'].items())
    prob, gt = (torch.stack([clip[key] for clip in clips]) for key in ('foreground_prob', 'gt_sem_seg'))
    predicted, true = prob > 0.5, gt > 0
    assert scores['robustness']['robustness/foreground_share'] == pytest.approx(predicted.double().mean().item())
    inter, union = ((predicted & true).sum((2, 3)), (predicted | true).sum((2, 3)))
    sounding = true.any(-1).any(-1)
    assert scores['robustness']['robustness/mIoU'] == pytest.approx((inter / union)[sounding].mean().item())
    false = (predicted & ~true).sum((2, 3)) / (~true).sum((2, 3))
    assert scores['robustness']['robustness/pixel_FPR'] == pytest.approx(false.mean().item())


def test_padding_and_unlabelled_frames_do_not_count():
    metric = RobustnessMetric()
    prob, gt = torch.ones(3, 2, 2), torch.zeros(3, 2, 2, dtype=torch.uint8)
    prob[0], gt[0, 0] = 0, 1
    gt[2] = 255
    metric.process(None, [sample('a', prob, gt, valid=[True, False, True], labelled=[True, True, False])])
    scores = metric.evaluate(1)
    assert scores['robustness/foreground_share'] == scores['robustness/nonempty_rate'] == 0


ORIGINAL = dict(mIoU=.8, F=.9, M_J=.7, M_F=.6, pixel_FPR=.1)


def scores_of(value):
    return dict(mIoU=value, F=value, M_J=value, M_F=value, foreground_share=value)


def test_g_scores_by_hand():
    scores = g_scores(ORIGINAL, scores_of(.4))
    assert scores == pytest.approx({
        'G-mIoU': 2 * .8 * .6 / 1.4, 'G-F': 2 * .9 * .6 / 1.5, 'G-M_J': 2 * .7 * .6 / 1.3, 'G-M_F': .6,
        'G-FPR(ours)': 2 * .9 * .6 / 1.5})
    # The maximum: perfect with the original audio, empty with negative audio.
    assert set(g_scores(dict(mIoU=1, F=1, M_J=1, M_F=1, pixel_FPR=0), scores_of(0)).values()) == {1}


def test_levels_of_a_kind_count_as_one_in_the_averages():
    negative = {'silence': scores_of(0), 'noise': scores_of(.2), 'noise:-20': scores_of(.6),
                'off-screen': scores_of(.8)}
    summary = summarize_g_scores(ORIGINAL, negative)
    assert list(summary['per_kind']) == list(negative)
    single = {kind: harmonic_mean(.8, 1 - score) for kind, score in
              (('silence', 0), ('noise', .2), ('noise:-20', .6), ('off-screen', .8))}
    expected = (single['silence'] + (single['noise'] + single['noise:-20']) / 2 + single['off-screen']) / 3
    assert summary['mean']['G-mIoU'] == pytest.approx(expected)
    assert summary['pooled']['G-mIoU'] == pytest.approx(harmonic_mean(.8, 1 - (0 + .4 + .8) / 3))


@pytest.fixture(scope='module')
def model(tmp_path_factory, synthetic_root):
    """Config, checkpoint and options of an untrained model on three S4 clips."""
    options = {f'{split}_dataloader.dataset.data_root': str(synthetic_root / 'Single-source')
               for split in ('train', 'val', 'test')}
    config = load_config(CONFIG, options)
    config.work_dir = str(tmp_path_factory.mktemp('model'))
    config.log_level = 'WARNING'
    checkpoint = os.path.join(config.work_dir, 'weights.pth')
    torch.manual_seed(1)
    torch.save(build_runner(config).model.state_dict(), checkpoint)
    return config, checkpoint, [f'{key}={value}' for key, value in options.items()]


def test_silence_and_original_audio_score_as_in_the_audio_ablation(model):
    config, checkpoint, _ = model
    ablation = audio_ablation(config, checkpoint)
    # A config may have this metric itself.
    with_metric = deepcopy(config)
    with_metric.test_evaluator = dict(type='RobustnessMetric')
    result, manifest = robustness_test(with_metric, checkpoint, ['silence', 'off-screen', 'mixture:0'],
                                       name='untrained')
    for kind, audio in (('original', 'original'), ('silence', 'muted')):
        assert result.scores[kind]['M_J'] == pytest.approx(ablation[audio]['avsbench/M_J'], abs=1e-6)
        assert result.scores[kind]['M_F'] == pytest.approx(ablation[audio]['avsbench/M_F'], abs=1e-6)
    # A mixture contains the original audio.
    assert list(result.g_scores['per_kind']) == ['silence', 'off-screen']
    original, silence = result.scores['original'], result.scores['silence']
    assert result.g_scores['per_kind']['silence']['G-mIoU'] == harmonic_mean(original['mIoU'], 1 - silence['mIoU'])
    assert result.mute_score == silence['S']
    assert len(manifest) == 9 and {row['kind'] for row in manifest} == {'silence', 'off-screen', 'mixture'}
    with pytest.raises(ValueError, match='each once'):
        robustness_test(config, checkpoint, ['silence', 'silence'])


def test_tool_writes_numbers_manifest_and_figure_of_several_models(model, run_tool, tmp_path, capsys):
    _, checkpoint, options = model
    first, second = tmp_path / 'first', tmp_path / 'second'
    run_tool('robustness', CONFIG, checkpoint, '--kinds', 'silence', '--out', first, '--names', 'one', '--cfg-options',
             *options)
    run_tool('robustness', CONFIG, checkpoint, '--kinds', 'silence', 'noise:-20', '--add', first / 'robustness.json',
             '--out', second, '--cfg-options', *options)
    runs = json.loads((second / 'robustness.json').read_text())
    assert [run['name'] for run in runs] == ['one', 'vct_tiny_s4']
    assert list(runs[1]['scores']) == ['original', 'silence', 'noise:-20']
    assert runs[0]['scores']['silence'] == runs[1]['scores']['silence']
    with open(second / 'manifest.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['kind'] for row in rows] == ['silence'] * 3 + ['noise'] * 3 and rows[3]['level'] == '-20 dBFS'
    assert len({row['seed'] for row in rows}) == 3
    figure = np.asarray(Image.open(second / 'robustness.png').convert('RGB'))
    assert figure.shape[1] > 1000 and figure.std() > 10
    printed = capsys.readouterr().out
    assert 'mute score S' in printed and 'G-mIoU' in printed and 'pooled' in printed
    assert printed.count('warning: not all models were tested with the same kinds') == 1
    with pytest.raises(SystemExit, match="error: 'loud' is not an audio condition"):
        run_tool('robustness', CONFIG, checkpoint, '--kinds', 'loud', '--cfg-options', *options)


@pytest.fixture
def forbid_tests(monkeypatch):
    def run(loop):
        raise AssertionError('a test has run')

    monkeypatch.setattr('mmavs.engine.testing.TestLoop.run', run)


def test_mistakes_are_found_before_the_first_test(model, forbid_tests, tmp_path):
    config, checkpoint, _ = model
    with pytest.raises(FileNotFoundError, match='no audio file'):
        robustness_test(config, checkpoint, ['silence', 'absent-class'], str(tmp_path / 'nowhere'))
    with pytest.raises(ValueError, match="'absent-class' needs absent_audio"):
        robustness_test(config, checkpoint, ['silence', 'absent-class'])
    config = deepcopy(config)
    # Log-mel examples are refused in the same place.
    config.test_dataloader.dataset.pipeline.pop(2)
    with pytest.raises(ValueError, match='the pipeline loads no audio'):
        robustness_test(config, checkpoint, ['silence'])


def test_tool_requires_a_directory_for_absent_class_audio(model, run_tool, forbid_tests, tmp_path, capsys):
    _, checkpoint, options = model
    with pytest.raises(SystemExit, match='error: .*nowhere: no audio file'):
        run_tool('robustness', CONFIG, checkpoint, '--kinds', 'silence', '--absent-sounds', tmp_path / 'nowhere',
                 '--out', tmp_path, '--cfg-options', *options)
    with pytest.raises(SystemExit):
        run_tool('robustness', CONFIG, checkpoint, '--kinds', 'absent-class')
    assert 'the kind absent-class needs --absent-audio' in capsys.readouterr().err


def test_tool_keeps_finished_results_if_a_later_model_fails(model, run_tool, tmp_path, monkeypatch):
    manifests = {'a.pth': 'x', 'b.pth': 'y', 'c.pth': 'z', 'd.pth': 'x'}

    def test(config, checkpoint, kinds, absent_audio, name, launcher):
        if checkpoint not in manifests:
            open(checkpoint)
        row = dict(clip=manifests[checkpoint], kind='silence', source='', seed=0, level='', class_overlap='')
        return result_of(name, .1, kinds=kinds), [row]

    monkeypatch.setattr('mmavs.analysis.robustness.robustness_test', test)
    models = [value for checkpoint in (*manifests, 'missing.pth') for value in (CONFIG, checkpoint)]
    with pytest.raises(SystemExit, match='error: .*missing.pth'):
        run_tool('robustness', *models, '--kinds', 'silence', '--names', *['vct/s4'] * 5, '--out', tmp_path)
    assert [result.name for result in read_results(tmp_path / 'robustness.json')] == ['vct/s4'] * 4
    files = {path.name: path.read_text().splitlines()[1][0] for path in tmp_path.glob('*.csv')}
    assert files == {'manifest.csv': 'x', 'manifest_2_vct_s4.csv': 'y', 'manifest_3_vct_s4.csv': 'z'}
    assert len(list(tmp_path.iterdir())) == 4


def test_runs_of_a_name_must_have_the_same_kinds(run_tool, forbid_tests, tmp_path):
    same = [result_of('a', .1, kinds=kinds) for kinds in (('silence', 'noise'), ('noise', 'silence'))]
    assert group_by_name(same) == {'a': same}
    runs = [result_of('a', .1, kinds=('silence', )), result_of('b', .1), result_of('a', .2, kinds=('noise', ))]
    message = (r"the runs of 'a' have different audio conditions: original, silence \(weights.pth\) "
               r'and original, noise \(.*.pth\)')
    with pytest.raises(ValueError, match=message):
        group_by_name(runs)
    file = tmp_path / 'runs.json'
    file.write_text(json.dumps([run.to_dict() for run in runs]))
    with pytest.raises(SystemExit, match=f'error: {message}'):
        run_tool('robustness', '--add', file, '--out', tmp_path / 'out')
    # Before the new model is tested.
    file.write_text(json.dumps([runs[0].to_dict()]))
    with pytest.raises(SystemExit, match=r'original, silence \(weights.pth\) and original, noise \(new.pth\)'):
        run_tool('robustness', CONFIG, 'new.pth', '--names', 'a', '--kinds', 'noise', '--add', file)


@pytest.mark.parametrize('text', ['{"name": "a"}', '[{"name": "a"}]', '[]', '3', 'M_J 0.7'])
def test_tool_refuses_files_that_are_not_results(text, run_tool, tmp_path):
    file = tmp_path / 'other.json'
    file.write_text(text)
    with pytest.raises(SystemExit, match='error: .*other.json: expected a robustness.json of tools/robustness.py'):
        run_tool('robustness', '--add', file, '--out', tmp_path / 'out')


def test_results_of_older_versions_are_read_under_the_current_names(tmp_path):
    result = result_of('a', .1)
    old = result.to_dict()
    for field in ('clips', 'scores'):
        old[field] = {'own' if key == 'original' else key: value for key, value in old[field].items()}
    (tmp_path / 'old.json').write_text(json.dumps([old]))
    assert read_results(tmp_path / 'old.json') == [result]


@pytest.mark.parametrize('text', ['noise:nan', 'noise:inf', 'noise:-1e400', 'mixture:nan', 'mixture:-inf'])
def test_levels_are_finite(text):
    with pytest.raises(ValueError, match='the level .* is not a number'):
        AudioCondition.parse(text)


def result_of(name, shift, kinds=('silence', 'noise', 'off-screen', 'mixture:0')):
    original = dict(ORIGINAL, foreground_share=.2, nonempty_rate=1., S=.4)
    scores = {'original': original} | {
        kind: dict(scores_of(min(.1 * i + shift, 1)), pixel_FPR=.1, nonempty_rate=.5, S=.3)
        for i, kind in enumerate(kinds)}
    negatives = {kind: values for kind, values in scores.items() if kind not in ('original', 'mixture:0')}
    return RobustnessResult(name, 'config.py', 'weights.pth', dict.fromkeys(scores, 60), scores, {},
                            summarize_g_scores(original, negatives) if negatives else {}, .3)


def test_tables_give_mean_and_spread_of_the_runs():
    rows = score_table([result_of('a', .1), result_of('a', .3)])
    assert [row['audio'] for row in rows] == ['original', 'silence', 'noise', 'off-screen', 'mixture:0']
    assert rows[1]['M_J'] == '0.200 ± 0.141' and rows[0]['clips'] == '60'
    g_rows = g_score_table([result_of('a', .1)])
    assert [row['audio'] for row in g_rows] == ['silence', 'noise', 'off-screen', 'mean', 'pooled']
    assert g_rows[0]['G-mIoU'] == f'{harmonic_mean(.8, .9):.3f}'
    assert g_score_table([result_of('a', .1, kinds=('mixture:0', ))]) == []


@pytest.mark.parametrize('count', [1, 3, 11])
def test_figure_shows_every_model_and_kind(count):
    groups = {f'model {i}': [result_of('', .02 * i).to_dict(), result_of('', .03 * i).to_dict()] for i in range(count)}
    figure = draw_robustness(groups)
    panels = figure.axes
    assert [panel.get_title(loc='left') for panel in panels] == ['M_J', 'FPR', 'G-mIoU']
    labels = [label.get_text() for label in panels[0].get_yticklabels()]
    assert labels == [
        'original', 'silence', 'noise, original RMS', 'off-screen', 'mixture 0 dB SNR', 'mean of kinds']
    assert all(panel.get_xlabel() for panel in panels) and panels[0].get_ylabel()
    assert len(figure.legends[0].get_texts()) == count
    marks = [line for line in panels[0].lines if len(line.get_xdata()) == 1]
    assert len(marks) == 5 * count
    assert marks[0].get_xdata()[0] == ORIGINAL['M_J'] and marks[1].get_xdata()[0] == pytest.approx(0)

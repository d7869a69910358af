"""Tables of papers: scores from those of clips, paired bootstrap, comparability, and formats."""
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmavs.analysis.result_collection import (
    Difference,
    Report,
    check_comparable,
    clip_statistic,
    headline_scores,
    paired_bootstrap,
    read_report,
    tabulate,
    to_csv,
    to_latex,
    to_markdown,
)
from mmavs.engine.test_report import make_report
from mmavs.registry import METRICS
from mmavs.utils.json_files import write_json

CLASSES = ('background', 'cat', 'dog', 'harp', 'unicorn')
STAMP = dict(checkpoint_sha256='0')


def sample_of(index, seed):
    """Clip with masks of the first four classes; the first frame of every third clip holds background only."""
    generator = torch.Generator().manual_seed(1000 * seed + index)
    gt = torch.randint(0, 4, (index % 3 + 1, 8, 8), generator=generator, dtype=torch.uint8)
    if index % 3 == 0:
        gt[0] = 0
    pred = torch.where(torch.rand(gt.shape, generator=generator) < 0.5, gt, 1)
    flags = torch.ones(len(gt), dtype=torch.bool)
    return dict(
        clip_id=f'clip {index}', subset='avss', gt_sem_seg=gt, pred_sem_seg=pred, valid=flags, labelled=flags,
        foreground_prob=torch.rand(gt.shape, generator=generator) * 0.6 + 0.4 * (gt > 0))


def report_of(metric, seed=0, clips=range(6), **options):
    """Report of one metric on random predictions."""
    config = Config(dict(test_evaluator=dict(type=metric, **options)))
    built = METRICS.build(dict(type=metric, **options))
    built.dataset_meta = dict(classes=CLASSES)
    built.process(None, [sample_of(index, seed) for index in clips])
    report = make_report(config, built.evaluate(len(clips)), [built], dict(checkpoint_sha256=str(seed)))
    return Report(f'{metric}{seed}.json', report['scores'], report['details'], report['stamp'])


def by_hand(*clips, metric='AVSBenchMetric', sha='0', name='hand.json'):
    """Report of clips with the given M_J."""
    per_clip = [dict(clip=str(i), subset='s4', frames=5, M_J=value, M_F=value) for i, value in enumerate(clips)]
    details = dict(avsbench=dict(metric=metric, protocol='avsbench', options={}, per_clip=per_clip))
    return Report(name, {'avsbench/M_J': sum(clips) / len(clips)}, details, dict(checkpoint_sha256=sha))


@pytest.mark.parametrize('metric, options, names', [
    ('AVSBenchMetric', {}, ['avsbench/M_J_per_video', 'avsbench/M_F_per_video']),
    ('AVSSMetric', {}, ['avsbench/M_J', 'avsbench/M_F', 'avsbench/M_J_without_background']),
    ('DatasetMetric', dict(preset='cavp'), ['dataset/mIoU', 'dataset/F', 'dataset/FDR', 'dataset/mIoU_fg']),
    ('DatasetMetric', dict(preset='ddeseg'), ['dataset/mIoU', 'dataset/F_fg', 'dataset/J&F']),
])
def test_scores_of_the_dataset_follow_from_those_of_its_clips(metric, options, names):
    report = report_of(metric, **options)
    for name in names:
        statistic = clip_statistic(report, name)
        assert statistic(np.ones((1, 6)))[0] == pytest.approx(report.scores[name], rel=1e-9), name
        # A weight of 2 is the clip twice.
        weights = np.array([[2, 0, 1, 3, 0, 1]])
        again = report_of(metric, clips=[0, 0, 2, 3, 3, 3, 5], **options) if metric != 'DatasetMetric' else None
        if again is not None:
            assert statistic(weights)[0] == pytest.approx(again.scores[name], rel=1e-9), name


def test_robustness_scores_are_means_over_frames():
    per_clip = [dict(clip='a', subset=None, frames=3, mIoU=0.2, S=1.0), dict(clip='b', subset=None, frames=1, mIoU=1.0,
                                                                             S=3.0)]
    details = dict(robustness=dict(metric='RobustnessMetric', protocol='avsbench', options={}, per_clip=per_clip))
    report = Report('r.json', {}, details, STAMP)
    ones = np.ones((1, 2))
    assert clip_statistic(report, 'robustness/mIoU')(ones)[0] == pytest.approx((3 * 0.2 + 1) / 4)
    assert clip_statistic(report, 'robustness/S')(ones)[0] == pytest.approx(2)


def test_switch_scores_are_weighted_by_their_frames():
    per_clip = [
        dict(clip='a', subset=None, J_at_switch=math.nan, J_between=0.5, frames_at_switch=0, frames_between=5),
        dict(clip='b', subset=None, J_at_switch=0.25, J_between=1.0, frames_at_switch=3, frames_between=2)]
    details = dict(switch=dict(metric='SwitchMetric', protocol='switch', options={}, per_clip=per_clip))
    report = Report('s.json', {}, details, STAMP)
    assert clip_statistic(report, 'switch/J_at_switch')(np.ones((1, 2)))[0] == pytest.approx(0.25)
    assert clip_statistic(report, 'switch/J_between')(np.ones((1, 2)))[0] == pytest.approx((5 * 0.5 + 2) / 7)


def test_bootstrap_of_two_clips_has_the_known_distribution():
    # Resampling two clips with differences -0.1 and 0.3 gives -0.1, 0.1 and 0.3 with 1/4, 1/2 and 1/4.
    found = paired_bootstrap([by_hand(0.4, 0.8)], [by_hand(0.5, 0.5)], 'avsbench/M_J', samples=20000)
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == pytest.approx((-0.1, 0.3))
    assert found.p == pytest.approx(2 * 0.25, abs=0.02)


def test_bootstrap_is_paired_and_averages_seeds():
    # Clips of very different difficulty: the difference is 0.01 in each, and certain.
    difficulty = np.linspace(0.1, 0.9, 40)
    baseline, method = by_hand(*difficulty), by_hand(*(difficulty + 0.01))
    found = paired_bootstrap([method], [baseline], 'avsbench/M_J', samples=500)
    assert (found.low, found.high) == pytest.approx((0.01, 0.01))
    assert found.p == pytest.approx(2 / 501)
    # The order of the clips in a report does not matter.
    details = method.details['avsbench']
    other = replace(method, details=dict(avsbench=dict(details, per_clip=details['per_clip'][::-1])))
    assert paired_bootstrap([other], [baseline], 'avsbench/M_J', samples=500) == found
    two = paired_bootstrap([method, by_hand(*(difficulty + 0.03))], [baseline], 'avsbench/M_J', samples=500)
    assert two.value == pytest.approx(0.02)


def test_equal_methods_do_not_differ():
    report = report_of('AVSSMetric')
    found = paired_bootstrap([report], [report], 'avsbench/M_J', samples=50)
    assert found == Difference(0, 0, 0, 1)


def test_what_cannot_be_compared_is_an_error():
    a, b = by_hand(0.1, 0.2, name='a.json'), by_hand(0.1, 0.2, 0.3, name='b.json')
    with pytest.raises(ValueError, match=r'b\.json: its 3 clips are not the 2 of a\.json'):
        check_comparable(dict(a=[a], b=[b]), 'avsbench/M_J')
    with pytest.raises(ValueError, match=r'a\.json: no avsbench/M_F, found avsbench/M_J'):
        check_comparable(dict(a=[a]), 'avsbench/M_F')
    other = by_hand(0.1, 0.2, metric='AVSSMetric', name='c.json')
    with pytest.raises(ValueError, match=r'c\.json: .*AVSSMetric.* not comparable'):
        check_comparable(dict(a=[a], c=[other]), 'avsbench/M_J')
    with pytest.raises(ValueError, match=r'again\.json and a\.json are tests of one checkpoint'):
        check_comparable(dict(a=[a, by_hand(0.1, 0.2, name='again.json')]), 'avsbench/M_J')
    with pytest.raises(ValueError, match='cannot be computed from scores of clips'):
        clip_statistic(report_of('AVSBenchMetric'), 'avsbench/M_J_batch_free')
    with pytest.raises(ValueError, match="the baseline is 'x', expected one of a"):
        tabulate(dict(a=[a]), ['avsbench/M_J'], 'x')


@pytest.fixture
def methods():
    return {
        'base_line': [by_hand(0.4, 0.6, sha='1'), by_hand(0.4, 0.8, sha='2')],
        'ours': [by_hand(0.9, 0.9, sha='3'), by_hand(0.8, 0.8, sha='4')],
    }


def test_table_has_means_spreads_and_the_best(methods):
    table = tabulate(methods, ['avsbench/M_J'], 'base_line', samples=200)
    (_, (first, )), (_, (second, )) = table.rows.values()
    assert (first.mean, first.spread) == pytest.approx((55, 7.0711), abs=1e-3)
    assert (second.mean, second.spread, second.best, first.best) == (pytest.approx(85), pytest.approx(7.0711, abs=1e-3),
                                                                    True, False)
    lines = to_markdown(table).splitlines()
    assert lines[0] == '| method | seeds | M_J | vs. base_line |'
    assert lines[2] == '| base_line | 2 | 55.0 ± 7.1 | - |'
    assert lines[3].startswith('| ours | 2 | **85.0 ± 7.1** | +30.0 [+')
    latex = to_latex(table)
    assert r'base\_line & 2 & $55.0 \pm 7.1$ \\' in latex and r'ours & 2 & $\mathbf{85.0 \pm 7.1}^{*}$ \\' in latex
    assert latex.count(r'\begin{tabular}{lrr}') == latex.count(r'\end{tabular}') == 1
    rows = [line.split(',') for line in to_csv(table).splitlines()]
    assert rows[2][:3] == ['ours', '2', 'avsbench/M_J'] and float(rows[2][5]) == pytest.approx(30)
    assert rows[1][5:] == ['', '', '', '']


def test_options_are_the_same_whether_the_config_states_the_default_or_not():
    reports = [replace(report_of('AVSBenchMetric', seed, **options), scores={'avsbench/M_J': 0.5})
               for seed, options in enumerate([{}, dict(batch_size=1), dict(batch_size=4)])]
    check_comparable(dict(a=reports[:1], b=reports[1:2]), 'avsbench/M_J')
    with pytest.raises(ValueError, match=r"'batch_size': 4.* not comparable"):
        check_comparable(dict(a=reports[:1], b=reports[2:]), 'avsbench/M_J')


def test_lower_false_discovery_is_better():
    low, high = report_of('DatasetMetric', 0), report_of('DatasetMetric', 1)
    if low.scores['dataset/FDR'] > high.scores['dataset/FDR']:
        low, high = high, low
    table = tabulate(dict(low=[low], high=[high]), ['dataset/FDR'])
    assert [cell.best for _, (cell, ) in table.rows.values()] == [True, False]


def test_tool_reads_reports_and_writes_tables(methods, tmp_path, run_tool, capsys):
    for name, reports in methods.items():
        for i, report in enumerate(reports):
            content = dict(scores=report.scores, details=report.details, stamp=report.stamp)
            write_json(tmp_path / name / f'seed{i}' / 'metrics.json', dict(format='mmavs test report 1', **content))
    arguments = [f'{name}={tmp_path}/{name}/*/metrics.json' for name in methods]
    outs = [tmp_path / f'table{suffix}' for suffix in ('.md', '.tex', '.csv')]
    run_tool('analysis_tools/collect_results', *arguments, '--baseline', 'base_line', '--samples', 50, '--out', *outs)
    assert capsys.readouterr().out == outs[0].read_text()
    assert '85.0' in outs[1].read_text() and 'avsbench/M_J' in outs[2].read_text()
    with pytest.raises(SystemExit):
        run_tool('analysis_tools/collect_results', f'x={tmp_path}/nothing/*.json')
    assert 'x: no file' in capsys.readouterr().err


def test_other_files_are_refused(tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps({'avsbench/M_J': 0.5}))
    with pytest.raises(ValueError, match=r"a\.json: the format is None, expected 'mmavs test report 1'"):
        read_report(tmp_path / 'a.json')
    (tmp_path / 'b.json').write_text('M_J 0.5')
    with pytest.raises(ValueError, match=r'b\.json: not a JSON file'):
        read_report(tmp_path / 'b.json')


def test_headline_scores_are_the_default():
    assert headline_scores([report_of('AVSSMetric').scores, by_hand(0.1).scores]) == ['avsbench/M_J']

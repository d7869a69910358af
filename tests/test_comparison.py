"""Method comparison: finished trainings are reused, and the table summarizes the seeds."""
import ast
import json
from pathlib import Path

import pytest

from mmavs.analysis import method_comparison
from mmavs.analysis.method_comparison import (
    Cost,
    comparison_table,
    mean_and_spread,
    measure_cost,
    train_and_score,
    write_comparison,
)
from mmavs.synthesis import synthesize_clips

CONFIGS = Path(__file__).parents[1] / 'configs'
CONFIG = str(CONFIGS / 'vct/vct_tiny_synthetic.py')
COST = Cost(params_m=1.5, gflops=2., seconds_per_clip=.25, peak_mib=30., train_seconds_per_clip=.5, train_peak_mib=60.)


def scores_of(original):
    return {audio: {'avsbench/M_J': original / factor, 'avsbench/M_F': .8}
            for audio, factor in (('original', 1), ('muted', 2), ('swapped', 4))}


def test_small_version_of_every_method_is_compared_by_default():
    tool = ast.parse((CONFIGS.parent / 'tools/analysis_tools/compare_methods.py').read_text())
    default, = (ast.literal_eval(node.value) for node in tool.body
                if isinstance(node, ast.Assign) and node.targets[0].id == 'DEFAULT')
    assert {*default} == {str(path.relative_to(CONFIGS)) for path in CONFIGS.glob('*/*_tiny_synthetic-ms3.py')}


def test_spread_is_the_sample_standard_deviation():
    assert mean_and_spread([.1, .2, .3]) == '0.200 ± 0.100'
    assert mean_and_spread([.25]) == '0.250'


def test_table_has_a_row_for_each_method(tmp_path):
    results = {'a': [scores_of(.4), scores_of(.6)], 'b': [scores_of(.8)]}
    costs = dict.fromkeys(results, COST)
    first, second = comparison_table(results, costs)
    assert (first['method'], first['M_J'], first['M_J muted']) == ('a', '0.500 ± 0.141', '0.250 ± 0.071')
    assert (second['M_J'], second['M_J swapped'], second['GFLOPs']) == ('0.800', '0.200', '2.00')
    write_comparison(tmp_path, results, costs, 'seeds 0, 1')
    lines = (tmp_path / 'comparison.md').read_text().splitlines()
    assert len(lines) == 6 and all(line.count('|') == lines[0].count('|') for line in lines[:4])
    assert json.loads((tmp_path / 'comparison.json').read_text())['results'] == results


def test_table_has_the_scores_of_the_protocol_of_its_configs():
    scores = {'dataset/mIoU': .5, 'dataset/F': .25, 'dataset/FDR': .1}
    run = dict.fromkeys(('original', 'muted', 'swapped'), scores)
    row, = comparison_table({'a': [run]}, {'a': COST})
    assert list(row)[:5] == ['method', 'mIoU', 'F', 'mIoU muted', 'mIoU swapped'] and row['F'] == '0.250'
    with pytest.raises(ValueError, match='no headline score in common'):
        comparison_table({'a': [run], 'b': [scores_of(.5)]}, {'a': COST, 'b': COST})


def test_other_data_than_synthetic_clips_need_a_flag(run_tool, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit, match=r'data/AVSBench/Multi-sources.*--own-data'):
        run_tool('analysis_tools/compare_methods', 'tpavi_r50_ms3', '--work-dir', tmp_path)


def test_table_shows_frames_at_a_switch_if_they_are_scored():
    runs = [scores_of(original) for original in (.4, .6)]
    for run, late in zip(runs, (.1, .3)):
        run['original'] |= {'switch/J_at_switch': late, 'switch/J_between': .5}
    row, = comparison_table({'a': runs}, {'a': COST})
    assert (row['J at switches'], row['J between']) == ('0.200 ± 0.141', '0.500 ± 0.000')


@pytest.fixture(scope='module')
def options(tmp_path_factory):
    root = tmp_path_factory.mktemp('clips')
    synthesize_clips(root, 'avss', 2, 1, 0)
    synthesize_clips(root, 'ms3', 0, 0, 2)
    directories = dict(train='AVSS', val='AVSS', test='Multi-sources')
    roots = {f'{split}_dataloader.dataset.data_root': str(root / directory) for split, directory in directories.items()}
    workers = {f'{split}_dataloader.{key}': value for split in directories
               for key, value in (('num_workers', 0), ('persistent_workers', False))}
    return {'train_cfg.max_iters': 1, **roots, **workers}


def test_training_with_the_same_recipe_is_not_repeated(options, tmp_path, monkeypatch):
    scores = train_and_score(CONFIG, 0, tmp_path, options)
    assert set(scores) == {'original', 'muted', 'swapped'} and 0 <= scores['original']['avsbench/M_J'] <= 1
    weights = tmp_path / 'iter_1.pth'
    written = weights.stat().st_mtime_ns
    assert train_and_score(CONFIG, 0, tmp_path, options) == scores
    assert weights.stat().st_mtime_ns == written
    # Another seed is another recipe. The test of its weights takes as long as that of the others.
    monkeypatch.setattr(method_comparison, 'audio_ablation', lambda *arguments: {})
    train_and_score(CONFIG, 1, tmp_path, options)
    assert weights.stat().st_mtime_ns > written


def test_costs_are_measured_with_the_options():
    without = {'model.decode_head.num_prototypes': None, 'model.decode_head.pac_loss': None}
    full, plain = (measure_cost(CONFIG, options, num_frames=1, repeats=1) for options in ({}, without))
    assert plain.params_m < full.params_m

"""Comparison under audio conditions: test sets, interrupted trainings and tests, tables."""
import json
import runpy
from concurrent.futures import Executor, Future

import cv2
import pytest
import torch

from mmavs.analysis import method_comparison, robustness_comparison
from mmavs.analysis.method_comparison import make_recipe, seeded_config, train_or_resume
from mmavs.analysis.robustness import RobustnessResult
from mmavs.analysis.robustness_comparison import TestSet, class_rows, robustness_rows, shorten_names, train_and_test

CONFIG = 'configs/ravs/ravs_tiny_synthetic-ms3.py'


@pytest.fixture(scope='module')
def options(synthetic_root):
    root = str(synthetic_root / 'Multi-sources')
    return {'train_cfg.max_iters': 2, 'param_scheduler.1.end': 21, 'default_hooks.checkpoint.interval': 1,
            'model.audio_backbone.init_cfg': None, 'model.audio_backbone.frozen': False,
            **{f'{split}_dataloader.{key}': value for split in ('train', 'val', 'test')
               for key, value in (('dataset.data_root', root), ('num_workers', 0), ('persistent_workers', False))}}


@pytest.mark.parametrize('text, expected', [
    ('seen', TestSet('seen')), ('seen=data/x', TestSet('seen', 'data/x')),
    ('seen=data/x:val', TestSet('seen', 'data/x', 'val')), ('validation=:val', TestSet('validation', None, 'val'))])
def test_test_set_is_read_from_text(text, expected):
    assert TestSet.parse(text) == expected


@pytest.mark.parametrize('text', ['=data', 'a/b=data', 'seen=data:tests'])
def test_unusable_test_set_is_refused(text):
    with pytest.raises(ValueError, match='test set'):
        TestSet.parse(text)


def test_interrupted_training_continues_and_a_finished_one_is_kept(options, tmp_path, monkeypatch):
    config = seeded_config(CONFIG, 0, options)

    def stop(runner, *args, **kwargs):
        if runner.iter == 1:
            raise KeyboardInterrupt
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr('mmavs.engine.hooks.mean_loss.MeanLossHook.before_train_iter',
                      lambda self, runner, *args, **kwargs: stop(runner), raising=False)
        train_or_resume(config.copy(), tmp_path)
    assert (tmp_path / 'iter_1.pth').exists() and not (tmp_path / 'iter_2.pth').exists()
    first = (tmp_path / 'iter_1.pth').stat().st_mtime_ns
    checkpoint = train_or_resume(config.copy(), tmp_path)
    assert checkpoint == str(tmp_path / 'iter_2.pth')
    # The first step was not repeated.
    assert not (tmp_path / 'iter_1.pth').exists() or (tmp_path / 'iter_1.pth').stat().st_mtime_ns == first
    written = (tmp_path / 'iter_2.pth').stat().st_mtime_ns
    assert train_or_resume(config.copy(), tmp_path) == checkpoint
    assert (tmp_path / 'iter_2.pth').stat().st_mtime_ns == written


def test_interrupted_training_of_another_recipe_does_not_continue_from_the_former_one(options, tmp_path, monkeypatch):
    assert train_or_resume(seeded_config(CONFIG, 0, options), tmp_path) == str(tmp_path / 'iter_2.pth')
    former = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    other = seeded_config(CONFIG, 1, options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(method_comparison, 'train', raise_interrupt)
        train_or_resume(other.copy(), tmp_path)
    train_or_resume(other.copy(), tmp_path)
    trained = torch.load(tmp_path / 'iter_2.pth', weights_only=False)['state_dict']
    assert any(not torch.equal(trained[name], former[name]) for name in former)


def raise_interrupt(config):
    raise KeyboardInterrupt


def test_results_belong_to_the_clips_that_the_config_names(options, tmp_path):
    config = seeded_config(CONFIG, 0, options)
    data = tmp_path / 'Multi-sources'
    data.mkdir()
    for split in ('train', 'val', 'test'):
        config[f'{split}_dataloader'].dataset.data_root = str(data)
    assert make_recipe(config) == config.pretty_text
    recipes = set()
    for seed in (0, 1):
        (data / 'synthesis.json').write_text(json.dumps(dict(arguments=dict(seed=seed), clips=[])))
        recipes.add(make_recipe(config))
        assert make_recipe(config) in recipes
    assert len(recipes) == 2


def test_trainings_and_tests_are_repeated_for_other_clips(options, tmp_path, monkeypatch):
    trained, tested = [], []

    def train(config):
        trained.append(config)
        (tmp_path / 'last_checkpoint').write_text('iter_2.pth')
        (tmp_path / 'iter_2.pth').touch()

    def test(config, *args):
        tested.append(config)
        return result(.5, {}), []

    monkeypatch.setattr(method_comparison, 'train', train)
    monkeypatch.setattr(robustness_comparison, 'robustness_test', test)
    own, other = tmp_path / 'own', tmp_path / 'other'
    options = options | {f'{split}_dataloader.dataset.data_root': str(own) for split in ('train', 'val', 'test')}
    for root in (own, other):
        root.mkdir()
        (root / 'synthesis.json').write_text(json.dumps(dict(arguments=dict(seed=0))))
    counts = []
    for changed in (None, None, other, own):
        if changed:
            (changed / 'synthesis.json').write_text(json.dumps(dict(arguments=dict(seed=1))))
        train_and_test(CONFIG, 0, tmp_path, options, [TestSet('other', str(other))], ('silence', ))
        counts.append((len(trained), len(tested)))
    # A change of the test set repeats its test, one of the training set both.
    assert counts == [(1, 1), (1, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize('arguments, message', [
    (['--kinds', 'sillence'], "'sillence' is not an audio condition"),
    (['--kinds', 'silence', 'silence'], 'each once'),
    (['--kinds', 'silence', '--absent-audio', 'none'], 'none: no audio file'),
    (['--kinds', 'silence', '--test', 'seen=no/data'], "test set 'seen': .*no/data"),
    (['--kinds', 'silence', '--test', 'seen=.'], "test set 'seen': .*ms3_meta_data.csv"),
    (['--kinds', 'silence', '--test', 'seen=ROOT:val'], "test set 'seen': .*the split 'val' is empty"),
])
def test_faults_of_the_tests_are_found_before_the_trainings(run_tool, tmp_path, monkeypatch, synthetic_root, arguments,
                                                            message):
    monkeypatch.setattr('concurrent.futures.ProcessPoolExecutor', lambda *args: pytest.fail('trained'))
    listing = tmp_path / 'Multi-sources/ms3_meta_data.csv'
    rows = (synthetic_root / 'Multi-sources/ms3_meta_data.csv').read_text().splitlines(keepends=True)
    listing.parent.mkdir()
    listing.write_text(''.join(row for row in rows if ',val' not in row))
    arguments = [text.replace('ROOT', str(listing.parent)) for text in arguments]
    with pytest.raises(SystemExit, match=message):
        run_tool('analysis_tools/compare_methods', CONFIG, '--own-data', '--work-dir', tmp_path / 'out', *arguments)


def test_configs_of_the_same_name_are_refused(run_tool, tmp_path, capsys):
    with pytest.raises(SystemExit):
        run_tool('analysis_tools/compare_methods', CONFIG, CONFIG, '--own-data', '--work-dir', tmp_path)
    assert 'several configs are named ravs_tiny_synthetic-ms3' in capsys.readouterr().err


def test_each_test_set_is_scored_once(options, tmp_path, monkeypatch):
    sets = [TestSet('val', None, 'val'), TestSet('test')]
    results = train_and_test(CONFIG, 0, tmp_path, options, sets, ('silence', ))
    assert {name: result.clips['silence'] for name, result in results.items()} == dict(val=2, test=3)
    for result in results.values():
        assert 'switch/J_at_switch' in result.other_scores['original'] and 'G-mIoU' in result.g_scores['mean']
        assert result.per_class and all(0 <= score <= 1 for score in result.per_class.values())
    monkeypatch.setattr(robustness_comparison, 'robustness_test', lambda *args: pytest.fail('tested again'))
    again = train_and_test(CONFIG, 0, tmp_path, options, sets, ('silence', ))
    assert {name: result.scores for name, result in again.items()} == {
        name: result.scores for name, result in results.items()}
    with pytest.raises(pytest.fail.Exception, match='tested again'):
        train_and_test(CONFIG, 0, tmp_path, options, sets, ('noise', ))


def result(score, classes):
    scores = {kind: dict(M_J=score, M_F=score, mIoU=value) for kind, value in (('original', score), ('silence', .1))}
    return RobustnessResult('m', 'c', 'p', dict(original=3, silence=3), scores,
                            dict(original={'switch/J_at_switch': .5}, silence={}),
                            dict(mean={'G-mIoU': score}), .1, classes)


def test_tables_have_a_row_for_each_method_and_class():
    methods = dict(a=[result(.4, dict(owl=.2)), result(.6, dict(owl=.4))], b=[result(.8, dict(owl=.7))])
    first, second = robustness_rows(methods)
    assert (first['M_J'], first['G-mIoU'], first['mIoU silence'], first['seeds']) == (
        '0.500 ± 0.141', '0.500 ± 0.141', '0.100 ± 0.000', '2')
    assert second['J at switches'] == '0.500'
    assert class_rows(methods) == [{'class': 'owl', 'a': '0.300 ± 0.141', 'b': '0.700'}]


@pytest.mark.parametrize('names, expected', [
    (['vct_r50_ms3', 'ravs_r50_ms3'], ['vct', 'ravs']),
    (['vct_r50_ms3', 'vct_pvtv2_ms3', 'ravs_r50_ms3'], ['vct_r50', 'vct_pvtv2', 'ravs_r50']),
    (['vct_r50_ms3'], ['vct_r50_ms3']), (['vct_ms3', 'ms3'], ['vct_ms3', 'ms3']), ([], [])])
def test_common_ends_of_names_are_removed(names, expected):
    assert shorten_names({name: number for number, name in enumerate(names)}) == {
        name: number for number, name in enumerate(expected)}


class SameProcess(Executor):
    """A pool that runs in this process."""

    def __init__(self, *args):
        pass

    def submit(self, function, *args):
        future = Future()
        future.set_result(function(*args))
        return future


def test_tool_trains_tests_and_writes_the_tables(options, tmp_path, run_tool, synthetic_root, monkeypatch):
    monkeypatch.setattr('concurrent.futures.ProcessPoolExecutor', SameProcess)
    run_tool('analysis_tools/compare_methods', CONFIG, '--own-data', '--seeds', 0, '--kinds', 'silence', '--test',
             'test', f'other={synthetic_root}/Multi-sources:val', '--work-dir', tmp_path / 'first', '--cfg-options',
             *(f'{key}={value}' for key, value in options.items()))
    text = (tmp_path / 'first/robustness.md').read_text()
    assert '## test\n' in text and '## other\n' in text and '## test, M_J by class\n' in text
    numbers = json.loads((tmp_path / 'first/robustness.json').read_text())['results']
    assert numbers['other']['ravs_tiny_synthetic-ms3'][0]['clips'] == dict(original=2, silence=2)
    for name in ('test', 'other'):
        height, width = cv2.imread(str(tmp_path / f'first/robustness_{name}.png')).shape[:2]
        assert height > 200 and width > 800


def test_second_stage_starts_from_the_training_of_the_same_seed(run_tool, tmp_path):
    with pytest.raises(SystemExit, match='--start-from: no checkpoint in .*ravs_tiny_synthetic-ms3/seed5'):
        run_tool('analysis_tools/compare_methods', CONFIG, '--own-data', '--seeds', 5, '--start-from', tmp_path,
                 '--work-dir', tmp_path / 'second')


@pytest.mark.parametrize('start', ['first', 'first/other'])
def test_second_stage_starts_from_the_same_config_or_a_named_one(tmp_path, start):
    for name in ('own', 'other'):
        for seed in (0, 1):
            directory = tmp_path / f'first/{name}/seed{seed}'
            directory.mkdir(parents=True)
            (directory / 'last_checkpoint').write_text(f'{directory}/iter_3.pth')
    starting_weights = runpy.run_path('tools/analysis_tools/compare_methods.py')['starting_weights']
    used = 'other' if start == 'first/other' else 'own'
    assert starting_weights(tmp_path / start, 'own', 1) == dict(
        load_from=f'{tmp_path}/first/{used}/seed1/iter_3.pth')

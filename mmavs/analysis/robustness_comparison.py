"""Compare trainings under several audio conditions on several test sets."""
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmavs.datasets.wrappers.audio_conditions import list_absent_audio
from mmavs.registry import DATASETS
from mmavs.utils.config import find_clip_dataset, metric_configs
from mmavs.utils.files import atomic_write
from mmavs.utils.json_files import check_types, nan_for_null, read_json, write_json
from mmavs.visualization.robustness_figure import write_robustness_figure

from .audio_ablation import ORIGINAL
from .method_comparison import make_recipe, markdown_table, seeded_config, train_or_resume
from .robustness import RESULT, RobustnessResult, parse_conditions, robustness_test, score_cell

T = TypeVar('T')

FORMAT = 'a robustness_*.json of compare_methods.py'


@dataclass(frozen=True)
class TestSet:
    """Clips to test on, in the layout of the config's own test set.

    Attributes:
        name: Name in tables and file names.
        data_root: Directory of the dataset; None for that of the config.
        split: 'train', 'val' or 'test'.
    """
    name: str
    data_root: str | None = None
    split: str = 'test'

    __test__ = False  # not a test of pytest

    @classmethod
    def parse(cls, text: str) -> 'TestSet':
        """Read ``NAME``, ``NAME=DIR`` or ``NAME=DIR:SPLIT``; an empty DIR is that of the config.

        Raises:
            ValueError: The name is empty or no part of a file name, or the split is unknown.
        """
        name, _, place = text.partition('=')
        root, _, split = place.partition(':')
        if not name or Path(name).name != name:
            raise ValueError(f'test set {text!r}: the name is {name!r}, expected NAME=DIR or NAME=DIR:SPLIT with a '
                             'name that can be part of a file name')
        if split and split not in ('train', 'val', 'test'):
            raise ValueError(f'test set {text!r}: the split is {split!r}, expected train, val or test')
        return cls(name, root or None, split or 'test')

    def apply_to(self, config: Config) -> Config:
        """Return a copy of a config that is tested on these clips, also for J at switches."""
        config = deepcopy(config)
        _, dataset = find_clip_dataset(config, 'test')
        dataset['split'] = self.split
        if self.data_root is not None:
            dataset['data_root'] = self.data_root
        metrics = metric_configs(config)
        if all(metric['type'] != 'SwitchMetric' for metric in metrics):
            config.test_evaluator = [*metrics, dict(type='SwitchMetric')]
        return config


def check_tests(configs: Iterable[Config], test_sets: Sequence[TestSet], kinds: Sequence[str],
                absent_audio: str | None = None) -> None:
    """Find the faults of tests before the trainings, which take long.

    Args:
        configs: The configs.
        test_sets: The test sets of each.
        kinds: See :func:`robustness_test`.
        absent_audio: See :func:`robustness_test`.

    Raises:
        FileNotFoundError: ``absent_audio`` holds no audio file.
        ValueError: The clips of a test set cannot be listed, or there are none; 'absent-class' has no directory;
            otherwise see :func:`mmavs.analysis.robustness.parse_conditions`.
    """
    if any(condition.name == 'absent-class' for condition in parse_conditions(kinds).values()):
        list_absent_audio(absent_audio)
    for config in configs:
        init_default_scope(config.get('default_scope', 'mmavs'))
        for test_set in test_sets:
            try:
                DATASETS.build(test_set.apply_to(config).test_dataloader.dataset)
            except (OSError, ValueError) as error:
                raise ValueError(f'test set {test_set.name!r}: {error}') from error


def train_and_test(config_file: str,
                   seed: int,
                   work_dir: Path,
                   options: dict | None,
                   test_sets: Sequence[TestSet],
                   kinds: Sequence[str],
                   absent_audio: str | None = None) -> dict[str, RobustnessResult]:
    """Train a config with one seed and test the result with the original audio and under other audio conditions.

    A training that ``work_dir`` holds is continued or kept, see :func:`train_or_resume`. The result of each test set is
    written to ``robustness_NAME.json``; if it was made with the same config, clips and conditions, the test is not run
    again.

    Args:
        config_file: The config.
        seed: Seed of the weights, the order of the clips and all random choices.
        work_dir: Directory of the checkpoint, the logs and the results.
        options: Values that replace those of the config, keyed by dotted names.
        test_sets: The test sets.
        kinds: Audio conditions, see :func:`robustness_test`.
        absent_audio: Directory of audio files for the condition 'absent-class'.

    Returns:
        Name of the test set -> result.
    """
    config = seeded_config(config_file, seed, options)
    plain = deepcopy(config)
    checkpoint = train_or_resume(config, work_dir)
    results = {}
    for test_set in test_sets:
        tested = test_set.apply_to(plain)
        recipe = dict(config=make_recipe(tested), kinds=list(kinds), absent_audio=absent_audio)
        file = work_dir / f'robustness_{test_set.name}.json'
        results[test_set.name] = read_result(file, recipe) if file.exists() else None
        if results[test_set.name] is None:
            tested.work_dir, tested.log_level = str(work_dir), 'WARNING'
            result, _ = robustness_test(tested, checkpoint, kinds, absent_audio)
            write_json(file, dict(recipe=recipe, result=result.to_dict()))
            results[test_set.name] = result
    return results


def read_result(file: Path, recipe: Mapping) -> RobustnessResult | None:
    """Read a result of :func:`train_and_test`; None if it was made with another recipe.

    Raises:
        ValueError: It is not such a result.
    """
    stored = read_json(file, FORMAT, ('recipe', 'result'))
    check_types(stored['result'], RESULT, file)
    if stored['recipe'] != recipe:
        return None
    try:
        return RobustnessResult(**nan_for_null(stored['result']))
    except TypeError as error:
        raise ValueError(f'{file}: expected {FORMAT}: {error}') from error


def robustness_rows(results: Mapping[str, Sequence[RobustnessResult]]) -> list[dict[str, str]]:
    """Return one row for each method: mean ± standard deviation over its seeds.

    Args:
        results: Name of the method -> the results of its seeds on one test set, under the same conditions.
    """
    rows = []
    for name, runs in results.items():

        def score(key: str, kind: str = ORIGINAL, runs: Sequence[RobustnessResult] = runs) -> str:
            return score_cell([run.scores[kind][key] for run in runs])

        first = runs[0]
        row = {'method': name, 'seeds': str(len(runs)), 'M_J': score('M_J'), 'M_F': score('M_F')}
        if first.g_scores:
            row['G-mIoU'] = score_cell([run.g_scores['mean']['G-mIoU'] for run in runs])
        row['J at switches'] = score_cell([run.other_scores[ORIGINAL]['switch/J_at_switch'] for run in runs])
        rows.append(row | {f'mIoU {kind}': score('mIoU', kind) for kind in first.scores})
    return rows


def class_rows(results: Mapping[str, Sequence[RobustnessResult]]) -> list[dict[str, str]]:
    """Return one row for each class, with the M_J of its clips for each method; empty if no class is known.

    Args:
        results: See :func:`robustness_rows`.
    """
    names = sorted(set().union(*(run.per_class for runs in results.values() for run in runs)))
    return [{'class': name} | {method: score_cell([run.per_class[name] for run in runs])
                               for method, runs in results.items()} for name in names]


def write_robustness(directory: Path, results: Mapping[str, Mapping[str, Sequence[RobustnessResult]]],
                     stamp: str) -> None:
    """Write the tables of all test sets, ``robustness.md``, all numbers, ``robustness.json``, and a figure of each set.

    The figure of a test set is ``robustness_NAME.png``. Tables and figures have the names of :func:`shorten_names`, the
    JSON file those that are given.

    Args:
        directory: The directory.
        results: Name of the test set -> name of the method -> the results of its seeds.
        stamp: Text below the tables.
    """
    lines = []
    for test_set, methods in results.items():
        methods = shorten_names(methods)
        for title, rows in ((test_set, robustness_rows(methods)), (f'{test_set}, M_J by class', class_rows(methods))):
            if rows:
                lines += [f'## {title}', '', *markdown_table(rows), '']
    with atomic_write(directory / 'robustness.md') as partial:
        partial.write_text('\n'.join([*lines, stamp]) + '\n', encoding='utf-8')
    numbers = {name: {method: [run.to_dict() for run in runs] for method, runs in methods.items()}
               for name, methods in results.items()}
    write_json(directory / 'robustness.json', dict(stamp=stamp, results=numbers))
    for name, methods in numbers.items():
        write_robustness_figure(directory / f'robustness_{name}.png', shorten_names(methods))


def shorten_names(methods: Mapping[str, T]) -> dict[str, T]:
    """Remove the ends that all names have in common from the keys: ``vct_r50_ms3, ravs_r50_ms3`` -> ``vct, ravs``."""
    parts = [name.split('_') for name in methods]
    while len(parts) > 1 and all(len(name) > 1 for name in parts) and len({name[-1] for name in parts}) == 1:
        parts = [name[:-1] for name in parts]
    return dict(zip(map('_'.join, parts), methods.values()))

"""Robustness test: score a model under several audio conditions and summarize the scores."""
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from math import isnan
from pathlib import Path
from statistics import fmean

from mmengine.config import Config

from mmavs.datasets.wrappers.audio_conditions import AudioCondition
from mmavs.engine.testing import TestResult, run_detailed_tests
from mmavs.evaluation.functional.robustness import summarize_g_scores
from mmavs.utils.config import metric_configs
from mmavs.utils.json_files import NUMBER, check_types, nan_for_null, read_json

from .audio_ablation import ORIGINAL, rename_original
from .method_comparison import mean_and_spread

KINDS = ('silence', 'noise', 'noise:-20', 'off-screen', 'mixture:10', 'mixture:0')
# Heading of the table -> result of a test run.
COLUMNS = {'M_J': 'M_J', 'M_F': 'M_F', 'mIoU': 'mIoU', 'F': 'F', 'FPR': 'foreground_share',
           'non-empty': 'nonempty_rate', 'pixel FPR': 'pixel_FPR'}
G_COLUMNS = ('G-mIoU', 'G-F', 'G-FPR(ours)', 'G-M_J', 'G-M_F')
# Types in a robustness.json, for check_types.
RESULT = dict(name=str, config=str, checkpoint=str, clips={'*': int}, scores={'*': {'*': NUMBER}},
              other_scores={'*': {'*': NUMBER}}, g_scores={'*': dict}, mute_score=NUMBER)
RESULT['per_class?'] = {'*': NUMBER}


@dataclass
class RobustnessResult:
    """The robustness of one checkpoint.

    Attributes:
        name: Display name of the model; results of one name are runs of it with several seeds.
        config: Config file.
        checkpoint: File of the weights.
        clips: Audio condition -> number of clips.
        scores: Audio condition ('original' first) -> the results of :class:`mmavs.evaluation.RobustnessMetric`.
        other_scores: Audio condition -> the results of the metrics of the config, under their full names.
        g_scores: See :func:`mmavs.evaluation.functional.robustness.summarize_g_scores`; empty without a negative
            condition.
        mute_score: S of silence, None if silence was not tested.
        per_class: Class -> mean M_J, with the original audio, of the clips in which an object of it sounds and is
            visible; empty if the classes of the clips are not known.
    """
    name: str
    config: str
    checkpoint: str
    clips: dict[str, int]
    scores: dict[str, dict[str, float]]
    other_scores: dict[str, dict[str, float]]
    g_scores: dict[str, dict]
    mute_score: float | None
    per_class: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict:
        """Return plain values, for JSON."""
        return asdict(self)


def robustness_test(config: Config,
                    checkpoint: str,
                    kinds: Sequence[str] = KINDS,
                    absent_audio: str | None = None,
                    name: str | None = None,
                    launcher: str = 'none') -> tuple[RobustnessResult, list[dict]]:
    """Score a model on the test split with the original audio and under other audio conditions.

    Args:
        config: The model's config, with ``test_dataloader`` and ``test_evaluator``. An AVSBenchMetric in it sets the
            ``batch_size`` of M_J and M_F; other metrics are computed as well.
        checkpoint: File with its weights.
        kinds: Audio conditions, see :class:`mmavs.datasets.ReplaceAudio`.
        absent_audio: Directory of audio files for the condition 'absent-class'.
        name: Display name of the model; None: :func:`default_name`.
        launcher: As for :func:`mmavs.engine.launch.build_runner`.

    Returns:
        The result, and the manifest: a dict for each clip and condition that names the audio.

    Raises:
        FileNotFoundError: ``absent_audio`` holds no audio file.
        ValueError: A condition is unknown or given twice, 'absent-class' has no directory, or the dataset does not load
            waveforms. All are found before the first test.
    """
    parsed = parse_conditions(kinds)
    plain = config.test_dataloader
    dataloaders = {ORIGINAL: deepcopy(plain)}
    for kind in kinds:
        options = dict(absent_audio=absent_audio) if parsed[kind].name == 'absent-class' else {}
        dataloaders[kind] = dict(plain, dataset=dict(type='ReplaceAudio', dataset=plain.dataset, kind=kind, **options))
    results = run_detailed_tests(config, checkpoint, dataloaders, _evaluator(config), launcher)

    scores, others = {}, {}
    for kind, (metrics, *_) in results.items():
        own_names = {key: key.removeprefix('robustness/') for key in metrics if key.startswith('robustness/')}
        scores[kind] = {short: metrics[key] for key, short in own_names.items()}
        others[kind] = {key: value for key, value in metrics.items() if key not in own_names}
    negatives = {kind: scores[kind] for kind in kinds if parsed[kind].is_negative}
    result = RobustnessResult(
        name=name or default_name(config),
        config=config.filename,
        checkpoint=str(checkpoint),
        clips={kind: len(result.dataset) for kind, result in results.items()},
        scores=scores,
        other_scores=others,
        g_scores=summarize_g_scores(scores[ORIGINAL], negatives) if negatives else {},
        mute_score=scores['silence']['S'] if 'silence' in scores else None,
        per_class=scores_per_class(results[ORIGINAL]))
    return result, [row for kind in kinds for row in results[kind].dataset.manifest]


def parse_conditions(kinds: Sequence[str]) -> dict[str, AudioCondition]:
    """Parse audio conditions.

    Raises:
        ValueError: A condition is unknown or given twice, or there is none.
    """
    parsed = {kind: AudioCondition.parse(kind) for kind in kinds}
    if len(parsed) < len(kinds) or not kinds:
        raise ValueError(f'kinds are {list(kinds)}, expected at least one, each once')
    return parsed


def scores_per_class(result: TestResult) -> dict[str, float]:
    """Mean M_J of the clips in which an object of a class sounds and is visible, by class; {} if this is not known."""
    scores: dict[str, list[float]] = {}
    clips = {row['clip']: row['M_J'] for row in result.details.get('robustness', {}).get('per_clip', ())}
    for index in range(len(result.dataset)):
        info = result.dataset.get_data_info(index)
        if info['clip_id'] in clips:
            for name in info['sounding']:
                if name in (info['visible'] or info['sounding']):
                    scores.setdefault(name, []).append(clips[info['clip_id']])
    return {name: fmean(scores[name]) for name in sorted(scores)}


def _evaluator(config: Config) -> list[dict]:
    """Return the metrics of the config, with one RobustnessMetric, which contains AVSBenchMetric."""
    replaced, metrics = ('AVSBenchMetric', 'RobustnessMetric'), metric_configs(config)
    batch_sizes = [metric.get('batch_size', 1) for metric in metrics if metric['type'] in replaced]
    others = [metric for metric in metrics if metric['type'] not in replaced]
    return [*others, dict(type='RobustnessMetric', batch_size=(batch_sizes or [1])[0])]


def default_name(config: Config) -> str:
    """Return the default name of a model: that of its config file."""
    return Path(config.filename).stem


def read_results(path: str | Path) -> list[RobustnessResult]:
    """Read a ``robustness.json``.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a ``robustness.json``.
    """
    try:
        content = read_json(path, 'a robustness.json')
        check_types(content, [RESULT], path)
        results = [RobustnessResult(**run) for run in content]
        for result in results:
            result.g_scores = nan_for_null(result.g_scores)
            for field in ('clips', 'scores', 'other_scores'):
                setattr(result, field, rename_original(nan_for_null(getattr(result, field))))
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f'{path}: expected a robustness.json of tools/robustness.py: {error}') from error
    if not results:
        raise ValueError(f'{path}: expected a robustness.json of tools/robustness.py, found no results')
    return results


def check_kinds(runs: Iterable[tuple[str, str, Iterable[str]]]) -> None:
    """Refuse runs of one model that were tested under different audio conditions: they have no mean.

    Args:
        runs: Name, checkpoint and audio conditions ('original' among them) of each.

    Raises:
        ValueError: The conditions of two runs of a name differ, regardless of their order.
    """
    first: dict[str, tuple[str, list[str]]] = {}
    for name, checkpoint, kinds in runs:
        kinds = list(kinds)
        other, expected = first.setdefault(name, (checkpoint, kinds))
        if set(kinds) != set(expected):
            raise ValueError(f'the runs of {name!r} have different audio conditions: {", ".join(expected)} ({other}) '
                             f'and {", ".join(kinds)} ({checkpoint}); test them under the same conditions, or give '
                             'them different names')


def group_by_name(results: Sequence[RobustnessResult]) -> dict[str, list[RobustnessResult]]:
    """Return the runs of each name, in order; raises the error of :func:`check_kinds`."""
    check_kinds((result.name, result.checkpoint, result.scores) for result in results)
    groups: dict[str, list[RobustnessResult]] = {}
    for result in results:
        groups.setdefault(result.name, []).append(result)
    return groups


def score_table(runs: Sequence[RobustnessResult]) -> list[dict[str, str]]:
    """Return one row for each audio condition of a model; mean ± standard deviation of several runs."""
    return [
        dict(audio=kind, clips=str(runs[0].clips[kind]))
        | {title: score_cell([run.scores[kind][key] for run in runs]) for title, key in COLUMNS.items()}
        for kind in runs[0].scores
    ]


def g_score_table(runs: Sequence[RobustnessResult]) -> list[dict[str, str]]:
    """Return one row of G scores for each negative condition of a model and each of their averages."""
    if not runs[0].g_scores:
        return []
    columns = {kind: [run.g_scores['per_kind'][kind] for run in runs] for kind in runs[0].g_scores['per_kind']}
    columns |= {name: [run.g_scores[name] for run in runs] for name in ('mean', 'pooled')}
    return [
        dict(audio=kind) | {key: score_cell([scores[key] for scores in values]) for key in G_COLUMNS}
        for kind, values in columns.items()
    ]


def score_cell(values: list[float]) -> str:
    """Format the scores of several runs: mean ± standard deviation, '-' if one is not defined."""
    return '-' if any(map(isnan, values)) else mean_and_spread(values)

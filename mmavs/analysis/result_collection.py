"""Tables for a paper from the reports of ``tools/test.py``: mean and spread over seeds, paired bootstrap over clips."""
from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmavs.engine.test_report import FORMAT
from mmavs.evaluation.functional.avsbench import BETA2
from mmavs.utils.json_files import NUMBER, check_types, nan_for_null, read_json

# Scores of a table if none are named; those that some report lacks are left out.
HEADLINES = ('avsbench/M_J', 'avsbench/M_F', 'dataset/mIoU', 'dataset/F', 'dataset/J&F')
# Resampled weights of clips that are held at once.
MAX_WEIGHTS_PER_CHUNK = 2**22
# Types in a report, for check_types.
REPORT = dict(scores={'*': NUMBER}, details={'*': {'per_clip?': [dict(clip=str, subset=str | None)]}},
              stamp={'checkpoint_sha256?': str | None})

# Score of a dataset from weights of its clips: (samples, clips) -> (samples,).
Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Report:
    """A report of ``tools/test.py --out metrics.json``.

    Attributes:
        path: The file.
        scores: Results of all metrics, ``prefix/name`` -> value, NaN if it is not defined.
        details: Prefix -> details of the metric, see ``docs/user_guides/testing.md``.
        stamp: Checkpoint, config, versions and protocols.
    """
    path: str
    scores: dict[str, float]
    details: dict[str, dict]
    stamp: dict


def read_report(path: str | Path) -> Report:
    """Read a report.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a report of this format.
    """
    content = read_json(path, 'a metrics.json')
    found = content.get('format') if isinstance(content, dict) else None
    if found != FORMAT:
        raise ValueError(f'{path}: the format is {found!r}, expected {FORMAT!r}: write it with mmavs test --out '
                         'metrics.json')
    check_types(content, REPORT, path)
    return Report(str(path), nan_for_null(content['scores']), nan_for_null(content['details']), content['stamp'])


def check_comparable(methods: dict[str, Sequence[Report]], metric: str) -> None:
    """Raise ValueError if a metric of the reports is missing, or was computed in another way or on other clips.

    Args:
        methods: Name of the method -> its reports, one for each seed.
        metric: ``prefix/name``.
    """
    prefix = metric.partition('/')[0]
    first = None
    for reports in methods.values():
        checkpoints = {}
        for report in reports:
            if metric not in report.scores:
                raise ValueError(f"{report.path}: no {metric}, found {', '.join(report.scores)}")
            details = report.details.get(prefix, {})
            setting = {key: details.get(key) for key in ('metric', 'protocol', 'options')}
            clips = [(clip['subset'], clip['clip']) for clip in details.get('per_clip', ())]
            if first is None:
                first = report, setting, clips
            if setting != first[1]:
                raise ValueError(f'{report.path}: {metric} is of {setting}, in {first[0].path} of {first[1]}: they are '
                                 'not comparable')
            if sorted(clips) != sorted(first[2]):
                raise ValueError(f'{report.path}: its {len(clips)} clips are not the {len(first[2])} of '
                                 f'{first[0].path}: compare tests of one split')
            same = checkpoints.setdefault(report.stamp.get('checkpoint_sha256'), report)
            if same is not report and report.stamp.get('checkpoint_sha256') is not None:
                raise ValueError(f'{report.path} and {same.path} are tests of one checkpoint, expected one for each '
                                 'seed')


# ---- Scores from the scores of clips ----


def clip_statistic(report: Report, metric: str) -> Statistic:
    """Function that computes a score of the dataset again from its clips, with weights.

    With weights of 1 it gives the reported score. For M_J and M_F of AVSBench-object that is ``M_J_per_video`` and
    ``M_F_per_video``: the scores of larger evaluation batches are not means over clips.

    Args:
        report: The report.
        metric: ``prefix/name`` of one of its scores.

    Raises:
        ValueError: The metric does not give the scores of clips.
    """
    prefix, _, name = metric.partition('/')
    details = report.details.get(prefix, {})
    clips = sorted(details.get('per_clip', ()), key=lambda clip: (str(clip['subset']), str(clip['clip'])))
    kind = details.get('metric')
    if clips and kind == 'DatasetMetric' and name == 'J&F':
        parts = [clip_statistic(report, f'{prefix}/{part}') for part in ('mIoU', 'F')]
        return lambda weights: sum(part(weights) for part in parts) / 2
    if clips and isinstance(kind, str) and kind in TERMS:
        try:
            found = TERMS[kind](details, clips, name)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f'{report.path}: its scores of clips are not those of a {kind} ({error!r}): test '
                             'again') from error
        if found is not None:
            numerator, denominator, absent = found
            return lambda weights: _mean_of_ratios(weights, numerator, denominator, absent)
    raise ValueError(f'{report.path}: {metric} cannot be computed from scores of clips'
                     f'{f" ({kind})" if kind else ""}: choose another metric or leave the baseline out')


def _mean_of_ratios(weights: np.ndarray, numerator: np.ndarray, denominator: np.ndarray, absent: float) -> np.ndarray:
    """Mean over classes of the ratio of weighted sums over clips; ``absent`` replaces 0 / 0, NaN leaves it out."""
    above, below = weights @ numerator, weights @ denominator
    ratios = np.divide(above, below, out=np.full(above.shape, absent), where=below > 0)
    return np.nanmean(ratios, axis=1)


def _means(details: dict, clips: list[dict], name: str) -> tuple | None:
    """Terms of a mean over clips or frames."""
    name = name.removesuffix('_per_video')
    if name not in clips[0]:
        return None
    values = np.array([clip[name] for clip in clips], float)
    of_frames = name in ('mIoU', 'F', 'foreground_share', 'nonempty_rate', 'pixel_FPR')
    counts = np.array([clip['frames'] if of_frames else 1 for clip in clips], float)
    defined = ~np.isnan(values)
    return (np.where(defined, values, 0) * counts)[:, None], (defined * counts)[:, None], math.nan


def _switches(details: dict, clips: list[dict], name: str) -> tuple | None:
    """Terms of the mean over the frames at a switch, or between switches."""
    if name not in ('J_at_switch', 'J_between'):
        return None
    counts = np.array([clip[name.replace('J', 'frames', 1)] for clip in clips], float)
    values = np.nan_to_num(np.array([clip[name] for clip in clips], float))
    return (values * counts)[:, None], counts[:, None], math.nan


def _class_averages(details: dict, clips: list[dict], name: str) -> tuple | None:
    """Terms of AVSS: of each class the mean over its frames; a class that never occurs counts 0."""
    name, without_background = name.removesuffix('_without_background'), name.endswith('_without_background')
    key = dict(M_J='iou', M_F='f_score').get(name)
    if key is None:
        return None
    classes = list(details['per_class'])[without_background:]
    frames, values = (_per_class(clips, classes, entry) for entry in ('frames', key))
    return values * frames, frames, 0.0


def _pixel_counts(details: dict, clips: list[dict], name: str) -> tuple | None:
    """Terms of the dataset protocol: pixels of each class."""
    name, foreground = name.removesuffix('_fg'), name.endswith('_fg')
    classes = list(details['classes'])[foreground:]
    tp, fp, fn = (_per_class(clips, classes, entry) for entry in ('tp', 'fp', 'fn'))
    absent = 0.0 if details['options'].get('preset', 'cavp') == 'cavp' else math.nan
    return dict(
        mIoU=(tp, tp + fp + fn, absent),
        F=((1 + BETA2) * tp, (1 + BETA2) * tp + BETA2 * fn + fp, math.nan),
        FDR=(fp, tp + fp, math.nan)).get(name)


def _per_class(clips: list[dict], classes: list[str], key: str) -> np.ndarray:
    return np.array([[clip['per_class'].get(name, {}).get(key) or 0 for name in classes] for clip in clips], float)


#: Class of a metric -> function that gives numerator (clips, classes), denominator and value of 0 / 0.
TERMS = dict(
    AVSBenchMetric=_means,
    RobustnessMetric=_means,
    SwitchMetric=_switches,
    AVSSMetric=_class_averages,
    DatasetMetric=_pixel_counts)


# ---- Paired bootstrap ----


@dataclass(frozen=True)
class Difference:
    """Difference of the scores of two methods on the same clips.

    Attributes:
        value: Score of the method minus that of the baseline, means over seeds, computed from the scores of clips.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p: Two-sided p-value of the hypothesis that the difference is 0.
    """
    value: float
    low: float
    high: float
    p: float


def paired_bootstrap(method: Sequence[Report], baseline: Sequence[Report], metric: str, samples: int = 10000,
                     seed: int = 0) -> Difference:
    """Resample the clips of the dataset, the same for both methods (percentile bootstrap).

    The interval covers other clips of the same kind, not other trainings: a method is the mean of its given seeds.

    Args:
        method: Reports of the method, one for each seed.
        baseline: Reports of the method that it is compared with, on the same clips.
        metric: ``prefix/name`` of the score.
        samples: Number of resampled datasets.
        seed: Seed of the resampling.
    """
    pairs = [[clip_statistic(report, metric) for report in reports] for reports in (method, baseline)]
    num_clips = len(method[0].details[metric.partition('/')[0]]['per_clip'])

    def difference(weights: np.ndarray) -> np.ndarray:
        ours, theirs = (np.mean([statistic(weights) for statistic in statistics_], axis=0) for statistics_ in pairs)
        return ours - theirs

    generator = np.random.default_rng(seed)
    chunk = max(1, MAX_WEIGHTS_PER_CHUNK // num_clips)
    resampled = np.concatenate([
        difference(generator.multinomial(num_clips, np.full(num_clips, 1 / num_clips), min(chunk, samples - begin)))
        for begin in range(0, samples, chunk)
    ])
    low, high = np.nanpercentile(resampled, (2.5, 97.5))
    tail = min((resampled <= 0).sum(), (resampled >= 0).sum())
    return Difference(
        value=difference(np.ones((1, num_clips)))[0].item(),
        low=low.item(),
        high=high.item(),
        p=min(1.0, 2 * (tail + 1) / (samples + 1)))


# ---- Tables ----


@dataclass(frozen=True)
class Cell:
    """Scores of a method, in percent.

    Attributes:
        mean: Mean over the seeds.
        spread: Sample standard deviation over the seeds, None for a single one.
        difference: Comparison with the baseline, None without one.
        best: Whether no other method has a higher mean (a lower one for FDR).
    """
    mean: float
    spread: float | None
    difference: Difference | None
    best: bool


@dataclass(frozen=True)
class ResultTable:
    """Scores of methods.

    Attributes:
        metrics: Names of the columns.
        rows: Name of the method -> number of seeds and one cell for each metric.
        baseline: Method that the others are compared with, or None.
        protocols: Protocols of the metrics.
    """
    metrics: list[str]
    rows: dict[str, tuple[int, list[Cell]]]
    baseline: str | None
    protocols: list[str]


def headline_scores(scores: Sequence[dict[str, float]]) -> list[str]:
    """Names of the headline scores that the results of all tests have."""
    return [name for name in HEADLINES if all(name in result for result in scores)]


def tabulate(methods: dict[str, Sequence[Report]], metrics: Sequence[str], baseline: str | None = None,
             samples: int = 10000) -> ResultTable:
    """Summarize methods over their seeds and compare them with a baseline.

    Args:
        methods: Name of the method -> its reports, one for each seed.
        metrics: ``prefix/name`` of the scores.
        baseline: Name of a method, or None for no comparison.
        samples: Resampled datasets of the bootstrap.

    Raises:
        ValueError: The reports are not comparable, see :func:`check_comparable`; or no method has that name.
    """
    if baseline is not None and baseline not in methods:
        raise ValueError(f"the baseline is {baseline!r}, expected one of {', '.join(methods)}")
    if not metrics:
        raise ValueError(f"none of {', '.join(HEADLINES)} is in all reports: name the metrics")
    for metric in metrics:
        check_comparable(methods, metric)
    means = {
        name: [statistics.fmean(report.scores[metric] for report in reports) for metric in metrics]
        for name, reports in methods.items()
    }
    rows = {}
    for name, reports in methods.items():
        cells = []
        for i, metric in enumerate(metrics):
            values = [100 * report.scores[metric] for report in reports]
            better = min if metric.endswith('FDR') else max
            difference = None
            if baseline is not None and name != baseline:
                difference = paired_bootstrap(reports, methods[baseline], metric, samples)
            cells.append(
                Cell(
                    mean=statistics.fmean(values),
                    spread=statistics.stdev(values) if len(values) > 1 else None,
                    difference=difference,
                    best=means[name][i] == better(row[i] for row in means.values())))
        rows[name] = len(reports), cells
    reports = [report for reports in methods.values() for report in reports]
    prefixes = {metric.partition('/')[0] for metric in metrics}
    protocols = sorted(
        {str(report.details.get(prefix, {}).get('protocol')) for report in reports for prefix in prefixes})
    return ResultTable(list(metrics), rows, baseline, protocols)


def to_markdown(table: ResultTable) -> str:
    """Format a table in Markdown; a difference to the baseline has its own column."""
    header = ['method', 'seeds']
    for metric in table.metrics:
        header += [_short(metric), *[f'vs. {table.baseline}'] * (table.baseline is not None)]
    lines = [header, ['---'] * len(header)]
    for name, (seeds, cells) in table.rows.items():
        row = [name, str(seeds)]
        for cell in cells:
            text = _score(cell, ' ± ')
            row.append(f'**{text}**' if cell.best else text)
            if table.baseline is not None:
                row.append(_difference(cell.difference))
        lines.append(row)
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines) + f'\n\n{_caption(table)}\n'


def to_latex(table: ResultTable) -> str:
    """Format a table in LaTeX (booktabs); a difference that is significant at 0.05 has a star."""
    columns = 'l' + 'r' * (1 + len(table.metrics))
    header = ' & '.join(['method', 'seeds', *(_escape(_short(metric)) for metric in table.metrics)])
    lines = [f'% {_caption(table)}', rf'\begin{{tabular}}{{{columns}}}', r'\toprule', rf'{header} \\', r'\midrule']
    for name, (seeds, cells) in table.rows.items():
        entries = []
        for cell in cells:
            text = _score(cell, r' \pm ')
            star = '^{*}' if cell.difference is not None and cell.difference.p < 0.05 else ''
            entries.append(rf'$\mathbf{{{text}}}{star}$' if cell.best else f'${text}{star}$')
        lines.append(rf'{" & ".join([_escape(name), str(seeds), *entries])} \\')
    return '\n'.join([*lines, r'\bottomrule', r'\end{tabular}']) + '\n'


def to_csv(table: ResultTable) -> str:
    """Format a table as CSV with all digits: a row for each method and metric."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['method', 'seeds', 'metric', 'mean', 'spread', 'difference', 'low', 'high', 'p'])
    for name, (seeds, cells) in table.rows.items():
        for metric, cell in zip(table.metrics, cells):
            d = cell.difference
            compared = ['', '', '', ''] if d is None else [100 * d.value, 100 * d.low, 100 * d.high, d.p]
            writer.writerow([name, seeds, metric, cell.mean, '' if cell.spread is None else cell.spread, *compared])
    return text.getvalue()


#: Suffix of a file -> function that formats a table.
WRITERS = {'.md': to_markdown, '.tex': to_latex, '.csv': to_csv}


def _short(metric: str) -> str:
    return metric.partition('/')[2]


def _score(cell: Cell, sign: str) -> str:
    return f'{cell.mean:.1f}' if cell.spread is None else f'{cell.mean:.1f}{sign}{cell.spread:.1f}'


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return '-'
    p = '< 0.001' if difference.p < 0.001 else f'= {difference.p:.3f}'
    return (f'{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}], p {p}')


def _caption(table: ResultTable) -> str:
    caption = (f'Percent, {" and ".join(table.protocols)} protocol; mean and sample standard deviation over the seeds.')
    if table.baseline is not None:
        caption += (f' Compared with {table.baseline} by a paired bootstrap over clips: difference, 95 % interval, '
                    'two-sided p-value.')
    return caption


def _escape(text: str) -> str:
    for character in '\\&%$#_{}':
        text = text.replace(character, '\\' + character if character != '\\' else r'\textbackslash ')
    return text

"""Compare methods: train and score each on the same data, for the same number of steps, with several seeds."""
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import find_latest_checkpoint

from mmavs.engine.resume import POINTER
from mmavs.engine.training import train
from mmavs.registry import MODELS
from mmavs.synthesis.current_dataset import MANIFEST
from mmavs.utils.config import find_clip_dataset, load_config
from mmavs.utils.files import atomic_write
from mmavs.utils.json_files import NUMBER, check_types, nan_for_null, read_json, write_json

from .audio_ablation import ORIGINAL, audio_ablation, rename_original
from .complexity import count_flops, count_parameters, drop_pretrained, frame_size
from .random_clips import random_clips
from .result_collection import headline_scores
from .timing import measure_model


@dataclass
class Cost:
    """Parameters, FLOPs, time and memory of a model.

    Attributes:
        params_m: Parameters in millions.
        gflops: GFLOPs of the prediction of one clip, 2 FLOPs for each multiply-add.
        seconds_per_clip: Median seconds of the prediction of one clip.
        peak_mib: Peak memory of the prediction of one clip in addition to the weights, in MiB.
        train_seconds_per_clip: Median seconds of the loss and its backward for one clip.
        train_peak_mib: Peak memory of the two in addition to the weights, in MiB.
    """
    params_m: float
    gflops: float
    seconds_per_clip: float
    peak_mib: float
    train_seconds_per_clip: float
    train_peak_mib: float


def train_and_score(config_file: str, seed: int, work_dir: Path, options: dict | None = None) -> dict:
    """Train a config with one seed and run the audio ablation on the result.

    A result that ``work_dir`` already holds is returned as it is if it was made with the same config, seed and clips.

    Args:
        config_file: The config, with a training and a test on any dataset.
        seed: Seed of the weights, the order of the clips and all random choices.
        work_dir: Directory of the checkpoint, the logs and the result, ``scores.json``.
        options: Values that replace those of the config, keyed by dotted names.

    Returns:
        The metrics under ``'original'``, ``'muted'`` and ``'swapped'``; see
        :func:`mmavs.analysis.audio_ablation.audio_ablation`.
    """
    config = seeded_config(config_file, seed, options)
    # The result belongs to this recipe, regardless of the directory.
    recipe = make_recipe(config)
    file = work_dir / 'scores.json'
    if file.exists():
        stored = read_scores(file, recipe)
        if stored is not None:
            return stored
    scores = audio_ablation(config, train_or_resume(config, work_dir))
    write_json(file, dict(scores=scores, seed=seed, recipe=recipe))
    return scores


def seeded_config(config_file: str, seed: int, options: dict | None = None) -> Config:
    """Read a config and set the seed of the weights, the order of the clips and all random choices."""
    config = load_config(config_file, options)
    config.randomness = dict(seed=seed)
    return config


def make_recipe(config: Config) -> str:
    """Text that differs for other results: the config, and the arguments of the synthetic clips that it names.

    Clips that are made anew, with other arguments, lie in the same directory. Weights that a training starts from count
    by their paths.
    """
    roots = {find_clip_dataset(config, split)[1].get('data_root') for split in ('train', 'val', 'test')} - {None}
    manifests = {root: Path(root) / MANIFEST for root in sorted(roots)}
    made = {root: read_json(file, 'the manifest of synthetic clips', ('arguments', ))['arguments']
            for root, file in manifests.items() if file.is_file()}
    return config.pretty_text + (json.dumps(made, sort_keys=True) if made else '')


def train_or_resume(config: Config, work_dir: Path) -> str:
    """Train a config into a directory, unless that has been done, and return the last checkpoint.

    ``training.json`` in it states the recipe of the training and, after its end, the name of the checkpoint. A training
    of the same recipe that was interrupted continues from its last checkpoint.

    Args:
        config: The config, in which the work directory and the level of the log are set.
        work_dir: The directory.

    Raises:
        ValueError: ``training.json`` is not the state of a training. Other errors are those of
            :func:`mmavs.engine.training.train`.
    """
    recipe, file = make_recipe(config), work_dir / 'training.json'
    config.work_dir, config.log_level = str(work_dir), 'WARNING'
    started = {}
    if file.exists():
        started = read_json(file, 'the state of a training', ('recipe', 'checkpoint'))
        check_types(started, dict(recipe=str, checkpoint=str | None), file)
    if started.get('recipe') == recipe:
        if started['checkpoint'] and (work_dir / started['checkpoint']).is_file():
            return str(work_dir / started['checkpoint'])
        config.resume = find_latest_checkpoint(str(work_dir)) is not None
    else:
        # The checkpoint of another recipe is not to be continued, also not after an interruption before the next one.
        (work_dir / POINTER).unlink(missing_ok=True)
        write_json(file, dict(recipe=recipe, checkpoint=None))
    train(config)
    checkpoint = Path(find_latest_checkpoint(str(work_dir))).name
    write_json(file, dict(recipe=recipe, checkpoint=checkpoint))
    return str(work_dir / checkpoint)


def read_scores(file: str | Path, recipe: str) -> dict | None:
    """Read the ``scores.json`` of a comparison; None if it was made with another recipe.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not the result of a comparison.
    """
    stored = read_json(file, 'the result of a comparison', ('recipe', 'scores'))
    check_types(stored, dict(recipe=str, scores={'*': {'*': NUMBER}}), file)
    if stored['recipe'] != recipe:
        return None
    return rename_original(nan_for_null(stored['scores']))


def measure_cost(config_file: str, options: dict | None = None, num_frames: int = 5, repeats: int = 9) -> Cost:
    """Measure the cost of the model of a config, one clip at a time, on the CPU, with frames of the config's size.

    Args:
        config_file: The config.
        options: Values that replace those of the config, keyed by dotted names.
        num_frames: Frames of a clip.
        repeats: Timed calls.
    """
    config = load_config(config_file, options)
    size, config = frame_size(config), config.model
    drop_pretrained(config)
    model = MODELS.build(config)
    clips = random_clips(model, size, num_frames=num_frames, num_events=config.decode_head.get('num_prototypes'))
    flops = count_flops(model, clips)
    measured = measure_model(model, clips, repeats=repeats)
    return Cost(
        count_parameters(model) / 1e6, flops[''] / 1e9, measured['predict'].seconds, measured['predict'].peak_mib,
        measured['train'].seconds, measured['train'].peak_mib)


def mean_and_spread(values: list[float]) -> str:
    """Format mean and sample standard deviation, '0.712 ± 0.013', or a single value."""
    if len(values) == 1:
        return f'{values[0]:.3f}'
    return f'{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}'


def comparison_table(results: dict[str, list[dict]], costs: dict[str, Cost]) -> list[dict[str, str]]:
    """Return one row for each method: headline scores, the first one with muted and swapped audio too, and costs.

    The scores of :class:`SwitchMetric` are in it if they are among the metrics.

    Args:
        results: Name of the method -> the scores of every seed.
        costs: Name of the method -> its cost.

    Raises:
        ValueError: No headline score is among the metrics of all methods.
    """
    rows, headlines = [], headline_scores([run[ORIGINAL] for runs in results.values() for run in runs])
    if not headlines:
        raise ValueError('the configs have no headline score in common: choose configs of one protocol')
    for name, runs in results.items():
        cost = costs[name]

        def score(metric: str, audio: str = ORIGINAL, runs: list[dict] = runs) -> str:
            return mean_and_spread([run[audio][metric] for run in runs])

        switches = {}
        if all('switch/J_at_switch' in run[ORIGINAL] for run in runs):
            switches = {
                'J at switches': score('switch/J_at_switch'),
                'J between': score('switch/J_between'),
            }
        first = headlines[0]
        rows.append({
            'method': name,
            **{metric.partition('/')[2]: score(metric) for metric in headlines},
            **{f"{first.partition('/')[2]} {audio}": score(first, audio) for audio in ('muted', 'swapped')},
            **switches,
            'params (M)': f'{cost.params_m:.2f}',
            'GFLOPs': f'{cost.gflops:.2f}',
            's / clip': f'{cost.seconds_per_clip:.3f}',
            'peak (MiB)': f'{cost.peak_mib:.0f}',
            'train s / clip': f'{cost.train_seconds_per_clip:.3f}',
            'train peak (MiB)': f'{cost.train_peak_mib:.0f}',
        })
    return rows


def write_comparison(directory: Path, results: dict[str, list[dict]], costs: dict[str, Cost], stamp: str) -> None:
    """Write ``comparison.json`` (all numbers of all seeds) and ``comparison.md`` (the table) into a directory."""
    rows = comparison_table(results, costs)
    with atomic_write(directory / 'comparison.md') as partial:
        partial.write_text('\n'.join([*markdown_table(rows), '', stamp]) + '\n', encoding='utf-8')
    numbers = dict(stamp=stamp, results=results, costs={name: asdict(cost) for name, cost in costs.items()})
    write_json(directory / 'comparison.json', numbers)


def markdown_table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Lines of a Markdown table of rows with the same keys."""
    header = list(rows[0])
    return ['| ' + ' | '.join(cells) + ' |' for cells in (header, ['---'] * len(header), *(r.values() for r in rows))]


def use_one_thread() -> None:
    """Limit PyTorch to one thread, for processes that run in parallel, one for each core."""
    torch.set_num_threads(1)

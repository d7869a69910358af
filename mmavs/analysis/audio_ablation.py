"""Audio ablation: test a model with the original, muted and swapped audio of the clips."""
from collections.abc import Sequence
from copy import deepcopy

from mmengine.config import Config

from mmavs.engine.testing import run_tests

ORIGINAL = 'original'


def audio_ablation(config: Config, checkpoint: str, launcher: str = 'none',
                   kinds: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """Test a model on the test split with the original, muted and swapped audio of the clips.

    The scores of a model that uses the audio fall if the audio is muted or swapped. Those of a model that segments the
    salient object regardless of the audio do not.

    Args:
        config: The model's config, with ``test_dataloader`` and ``test_evaluator``.
        checkpoint: File with its weights.
        launcher: As for :func:`mmavs.engine.launch.build_runner`.
        kinds: Further audio conditions, see :class:`mmavs.datasets.ReplaceAudio`.

    Returns:
        The metrics of the evaluator under ``'original'``, ``'muted'`` and ``'swapped'``, and under each of ``kinds``.
    """
    plain = config.test_dataloader
    variants = audio_variants(plain)
    for kind in kinds:
        variants[kind] = dict(plain, dataset=dict(type='ReplaceAudio', dataset=plain.dataset, kind=kind))
    loops = run_tests(config, checkpoint, variants, config.test_evaluator, launcher)
    return {name: scores for name, (scores, _) in loops.items()}


def audio_variants(dataloader: dict) -> dict[str, dict]:
    """Return configs of the data loader with the original audio, with silence, and with the audio of another clip."""
    muted, swapped = deepcopy(dataloader), deepcopy(dataloader)
    muted['dataset']['pipeline'].insert(-1, dict(type='MuteAudio'))
    swapped['dataset'] = dict(type='SwapAudio', dataset=swapped['dataset'])
    return {ORIGINAL: deepcopy(dataloader), 'muted': muted, 'swapped': swapped}


def rename_original(results: dict) -> dict:
    """Rename the key ``'own'``, under which versions before 0.2 stored the results with the original audio."""
    return {ORIGINAL if key == 'own' else key: value for key, value in results.items()}

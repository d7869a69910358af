"""Does a model listen? The same clips with their own sound, with none, and with the sound of other clips."""
from copy import deepcopy

from mmengine.config import Config

from mmavs.engine.testing import run_tests


def audio_ablation(config: Config, checkpoint: str, launcher: str = 'none') -> dict[str, dict[str, float]]:
    """Score a model on the test split with the right and with wrong sounds.

    A model that listens scores much lower when the sound is muted or swapped; one that segments whatever is in the
    picture does not.

    Args:
        config: The model's config, with ``test_dataloader`` and ``test_evaluator``.
        checkpoint: File with its weights.
        launcher: As for :func:`mmavs.engine.launch.build_runner`.

    Returns:
        The metrics of the evaluator under ``'own'``, ``'muted'`` and ``'swapped'``.
    """
    loops = run_tests(config, checkpoint, audio_variants(config.test_dataloader), config.test_evaluator, launcher)
    return {name: scores for name, (scores, _) in loops.items()}




def audio_variants(dataloader: dict) -> dict[str, dict]:
    """Configs of the data loader with each clip's own sound, with silence, and with the sound of another clip."""
    muted, swapped = deepcopy(dataloader), deepcopy(dataloader)
    muted['dataset']['pipeline'].insert(-1, dict(type='MuteAudio'))
    swapped['dataset'] = dict(type='SwapAudio', dataset=swapped['dataset'])
    return dict(own=deepcopy(dataloader), muted=muted, swapped=swapped)

"""Pretrain a small audio backbone on synthetic audio, as a substitute for VGGish pretrained on AudioSet."""
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.registry import MODELS
from mmavs.utils.files import atomic_write, check_writable
from mmavs.utils.progress import track_progress

from .scenes import CATEGORIES, SOUND_POOL, sound_instance
from .sounds import synthesize_sound

#: Draws a number of examples from a random stream: waveforms (number, 16000) in [-1, 1], labels (number, classes) of 0
#: and 1.
SampleSeconds = Callable[[np.random.Generator, int], tuple[Tensor, Tensor]]
# Seconds of audio that a pretrained backbone is scored on.
NUM_SCORED = 512


class PretrainingScores(NamedTuple):
    """Scores of a pretrained backbone, whose classifier names what sounds in a second of mixed audio.

    Attributes:
        accuracy: Fraction of correct decisions (a class sounds or not) over the last tenth of the steps, in [0, 1].
            Most classes do not sound, hence it is high for any backbone.
        average_precision: Mean average precision of the classes, in [0, 1], on other mixtures of the training audio.
        held_out: The same on audio that is not in training, of the classes that have such audio; None without.
    """
    accuracy: float
    average_precision: float
    held_out: float | None = None


def pretrain_audio_backbone(config: dict,
                            out: str | Path,
                            steps: int = 300,
                            batch_size: int = 64,
                            pitches: Sequence[float] = (1., ),
                            seed: int = 0,
                            device: str | torch.device = 'cpu') -> PretrainingScores:
    """Train a VGGish to classify synthetic audio by category and pitch, and save its weights.

    Every example is one second of noise mixed with the audio of zero to two training instances. The classifier on
    top of the embedding is dropped; both outputs are scaled to a root mean square of 1.

    Args:
        config: Config of the backbone, with ``output='embedding'``; its ``frozen`` and ``init_cfg`` are ignored.
        out: File to write, for ``init_cfg=dict(type='Pretrained', checkpoint=...)`` of both kinds of output.
        steps: Training steps of Adam with a learning rate from 1e-3 to 0.
        batch_size: Seconds of audio in a step.
        pitches: Factors on the frequencies. Each pitch of a category is a class of its own.
        seed: Seed of weights and audio.
        device: Device to train on.

    Returns:
        The scores, for classes that are categories and pitches.
    """
    num_classes = len(CATEGORIES) * len(pitches)
    return pretrain_on(config, out, partial(sample_seconds, pitches=pitches), num_classes,
                       dict(source='synthetic sounds', pitches=tuple(pitches)), steps, batch_size, seed, device)


def pretrain_on(config: dict, out: str | Path, sample: SampleSeconds, num_classes: int, meta: dict, steps: int,
                batch_size: int, seed: int = 0, device: str | torch.device = 'cpu',
                held_out: tuple[SampleSeconds, Sequence[int]] | None = None) -> PretrainingScores:
    """Train a VGGish to classify seconds of audio, as :func:`pretrain_audio_backbone`, and save its weights.

    Args:
        config: See :func:`pretrain_audio_backbone`.
        out: File to write.
        sample: Draws the examples.
        num_classes: Classes.
        meta: Saved in the file, with ``steps`` and ``seed``.
        steps: Training steps.
        batch_size: Seconds of audio in a step.
        seed: Seed of weights and audio.
        device: Device to train on.
        held_out: Draws examples of audio that is not in training; with the index of each of its classes among the
            ``num_classes``.
    """
    check_writable(out)
    init_default_scope('mmavs')
    torch.manual_seed(seed)
    kaiming = dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', distribution='normal')
    backbone = MODELS.build({**config, 'frozen': False, 'init_cfg': kaiming})
    backbone.init_weights()
    model = nn.ModuleDict(dict(backbone=backbone, classifier=nn.Linear(backbone.embed_dims, num_classes)))
    model.to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng, accuracies = np.random.default_rng(seed), []
    for _ in track_progress(range(steps), 'audio backbone'):
        waveforms, present = (x.to(device) for x in sample(rng, batch_size))
        logits = model['classifier'](backbone(waveforms, 1).flatten(1))
        loss = F.binary_cross_entropy_with_logits(logits, present)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        accuracies.append(((logits > 0) == (present > 0)).float().mean().item())

    model.eval()
    scoring = np.random.default_rng([seed, 1])
    precision = [mean_average_precision(model, *sample(scoring, NUM_SCORED))]
    if held_out is not None:
        draw, classes = held_out
        precision.append(mean_average_precision(model, *draw(scoring, NUM_SCORED), classes))
    scale_outputs(backbone, sample(rng, batch_size)[0].to(device))
    with atomic_write(out) as unfinished, open(unfinished, 'wb') as file:
        torch.save(dict(state_dict=backbone.state_dict(), meta=dict(meta, steps=steps, seed=seed)), file)
    return PretrainingScores(float(np.mean(accuracies[-max(1, steps // 10):])), *precision)


@torch.no_grad()
def mean_average_precision(model: nn.ModuleDict, waveforms: Tensor, present: Tensor,
                           classes: Sequence[int] | None = None) -> float:
    """Mean of the average precision of the classes that occur.

    Args:
        model: ``backbone`` and ``classifier``.
        waveforms: (N, 16000) in [-1, 1].
        present: Labels (N, K), 0 or 1.
        classes: Index of each of the K classes in the output of the classifier; None: all, in their order.
    """
    device = next(model.parameters()).device
    embeddings = torch.cat([model['backbone'](x.to(device), 1).flatten(1) for x in waveforms.split(64)])
    logits = model['classifier'](embeddings)
    if classes is not None:
        logits = logits[:, list(classes)]
    return average_precision(logits.cpu(), present)


def average_precision(scores: Tensor, present: Tensor) -> float:
    """Mean over the classes that occur of the mean precision at each positive example, highest score first.

    Args:
        scores: (N, K).
        present: (N, K), 0 or 1.
    """
    hits = present.gather(0, scores.argsort(0, descending=True))
    ranks = torch.arange(1, len(scores) + 1)[:, None]
    values = (hits * hits.cumsum(0) / ranks).sum(0) / hits.sum(0)
    return values[hits.any(0)].mean().item()


@torch.no_grad()
def scale_outputs(backbone: nn.Module, waveforms: Tensor) -> None:
    """Scale the map and the embedding of a VGGish to a root mean square of 1 on these waveforms (N, 16000).

    ReLU and pooling commute with a positive factor, therefore the embedding does not depend on that of the map.
    """
    *_, last_conv = (layer for layer in backbone.features if isinstance(layer, nn.Conv2d))
    first, *_, last = (layer for layer in backbone.embeddings if isinstance(layer, nn.Linear))
    map_rms = backbone.features(backbone.log_mel_examples(waveforms).flatten(0, 1)).square().mean().sqrt()
    for parameter in (last_conv.weight, last_conv.bias):
        parameter /= map_rms
    first.weight *= map_rms
    embedding_rms = backbone(waveforms, 1).square().mean().sqrt()
    for parameter in (last.weight, last.bias):
        parameter /= embedding_rms


def sample_seconds(rng: np.random.Generator, number: int, pitches: Sequence[float] = (1., )) -> tuple[Tensor, Tensor]:
    """Sample seconds of audio (number, 16000) in [-1, 1] and their labels (number, categories * pitches), 0 or 1."""
    waveforms = 10**(rng.uniform(-75, -52, (number, 1)) / 20) * rng.standard_normal((number, SAMPLE_RATE))
    present = np.zeros((number, len(CATEGORIES), len(pitches)), np.float32)
    for waveform, flags in zip(waveforms, present):
        for category in rng.choice(len(CATEGORIES), int(rng.choice(3, p=(0.1, 0.6, 0.3))), replace=False):
            name, pitch = CATEGORIES[category], int(rng.integers(len(pitches)))
            instance = sound_instance(0, 'train', name, int(rng.integers(SOUND_POOL['train'])))
            level = 10**(rng.uniform(-25, -21) / 20)
            waveform += level * synthesize_sound(name, 1, instance, rng, pitches[pitch])
            flags[category, pitch] = 1
    return torch.from_numpy(waveforms.clip(-1, 1).astype(np.float32)), torch.from_numpy(present).flatten(1)

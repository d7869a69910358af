"""A small audio backbone that knows the drawn sounds, as the published VGGish knows those of AudioSet."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.registry import init_default_scope
from rich.progress import track
from torch import Tensor, nn

from mmavs.registry import MODELS
from mmavs.utils.files import atomic_write

from .scenes import CATEGORIES, SOUND_POOL, sound_instance
from .sounds import synthesize_sound


def pretrain_audio_backbone(config: dict,
                            out: str | Path,
                            steps: int = 300,
                            batch_size: int = 64,
                            pitches: Sequence[float] = (1., ),
                            seed: int = 0,
                            device: str | torch.device = 'cpu') -> float:
    """Train a VGGish to name which of the drawn sounds it hears, and at which pitch, and save its weights.

    Every example is a second of noise with none, one or two sounds of the training instances in it. The classifier on
    top of the embedding is thrown away; both outputs get a root mean square of 1.

    Args:
        config: Config of the backbone, with ``output='embedding'``; its ``frozen`` and ``init_cfg`` do not count.
        out: File to write, for ``init_cfg=dict(type='Pretrained', checkpoint=...)`` of both kinds of output.
        steps: Training steps of Adam with a learning rate from 1e-3 to 0.
        batch_size: Seconds of sound in a step.
        pitches: Factors on the frequencies of the sounds; a sound at one pitch is another one than at the next.
        seed: Of weights and sounds.
        device: Where to train.

    Returns:
        Share of the sounds of the last tenth of the steps that are judged right (present or not, by category
        and pitch).
    """
    init_default_scope('mmavs')
    torch.manual_seed(seed)
    kaiming = dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', distribution='normal')
    backbone = MODELS.build({**config, 'frozen': False, 'init_cfg': kaiming})
    backbone.init_weights()
    num_sounds = len(CATEGORIES) * len(pitches)
    model = nn.ModuleDict(dict(backbone=backbone, classifier=nn.Linear(backbone.embed_dims, num_sounds)))
    model.to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng, right = np.random.default_rng(seed), []
    for _ in track(range(steps), 'audio backbone'):
        waveforms, present = (x.to(device) for x in draw_seconds(rng, batch_size, pitches))
        logits = model['classifier'](backbone(waveforms, 1).flatten(1))
        loss = F.binary_cross_entropy_with_logits(logits, present)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        right.append(((logits > 0) == (present > 0)).float().mean().item())

    scale_outputs(backbone, draw_seconds(rng, batch_size, pitches)[0].to(device))
    meta = dict(source='drawn sounds', pitches=tuple(pitches), steps=steps, seed=seed)
    with atomic_write(out) as partial:
        torch.save(dict(state_dict=backbone.state_dict(), meta=meta), partial)
    return float(np.mean(right[-max(1, steps // 10):]))


@torch.no_grad()
def scale_outputs(backbone: nn.Module, waveforms: Tensor) -> None:
    """Give the map and the embedding of a VGGish a root mean square of 1 on these sounds (N, 16000).

    ReLU and pooling let a factor through, so the embedding does not depend on the factor of the map.
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


def draw_seconds(rng: np.random.Generator, number: int, pitches: Sequence[float] = (1., )) -> tuple[Tensor, Tensor]:
    """Seconds of sound (number, 16000) in [-1, 1], and what sounds in them (number, categories * pitches), 0 or 1."""
    waveforms = 10**(rng.uniform(-75, -52, (number, 1)) / 20) * rng.standard_normal((number, 16000))
    present = np.zeros((number, len(CATEGORIES), len(pitches)), np.float32)
    for waveform, flags in zip(waveforms, present):
        for category in rng.choice(len(CATEGORIES), int(rng.choice(3, p=(0.1, 0.6, 0.3))), replace=False):
            name, pitch = CATEGORIES[category], int(rng.integers(len(pitches)))
            instance = sound_instance(0, 'train', name, int(rng.integers(SOUND_POOL['train'])))
            level = 10**(rng.uniform(-25, -21) / 20)
            waveform += level * synthesize_sound(name, 1, instance, rng, pitches[pitch])
            flags[category, pitch] = 1
    return torch.from_numpy(waveforms.clip(-1, 1).astype(np.float32)), torch.from_numpy(present).flatten(1)

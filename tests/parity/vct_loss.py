"""VCT: matching and losses, from seeded predictions."""
import math
import re
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F

from mmavs.models.losses import SetCriterion, prototype_audio_contrast
from mmavs.models.losses.matching import Segments

from . import DEVICE, targets

KEYS = {'subset', 'seed', *targets.KEYS}
NUM_FRAMES, NUM_QUERIES, NUM_AUX = 10, 100, 9
NUM_CLASSES = dict(s4=2, ms3=2, avss=71)
NUM_PROTOTYPES = dict(s4=23, avss=71)
TERMS = dict(loss_ce='loss_cls', loss_mask='loss_mask', loss_dice='loss_dice')


def check(case_dir, case, seeded):
    """Every term within 1e-5 of the reference, relatively."""
    subset, seed = case['subset'], case['seed']
    readme = (case_dir / 'README.md').read_text()
    labels = targets.frame_labels(case, readme, NUM_FRAMES)
    predictions = [draw_prediction(seeded, seed, subset, f'aux{i}.') for i in range(NUM_AUX)]
    predictions.append(draw_prediction(seeded, seed, subset, ''))

    criterion = SetCriterion(NUM_CLASSES[subset])
    with mock.patch.object(torch, 'rand', lambda *shape, device: seeded.grid_rand(shape).to(device)):
        terms = criterion.compare(predictions, segments_of(labels.values()), torch.tensor(list(labels)))
    losses = {}
    for official, name in TERMS.items():
        for layer, value in enumerate(terms[name]):
            losses[official if layer == NUM_AUX else f'{official}_{layer}'] = value
    if subset in NUM_PROTOTYPES:
        losses['loss_proto'] = prototype_loss(seeded, seed, subset, labels, readme)

    expected = dict(np.load(case_dir / 'expected.npz'))
    assert set(losses) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(losses[name].item(), value, rtol=1e-5, equal_nan=False,
                                   err_msg=f'{case_dir.name}: {name}')


def segments_of(labels):
    """Target i of a frame is the rectangle of rows 60 i to 60 i + 200; the targets of a frame overlap."""
    labels = list(labels)
    masks = torch.zeros(sum(map(len, labels)), 384, 384)
    for mask, i in zip(masks, (i for classes in labels for i in range(len(classes)))):
        mask[i * 60:i * 60 + 200, 30:300] = 1
    frames = torch.arange(len(labels)).repeat_interleave(torch.tensor([len(classes) for classes in labels]))
    return Segments(masks.to(DEVICE), torch.tensor(sum(labels, [])), frames, len(labels))


def draw_prediction(seeded, seed, subset, prefix):
    logits = seeded.draw(f'{prefix}pred_logits', (NUM_FRAMES, NUM_QUERIES, NUM_CLASSES[subset] + 1), 'normal', 0, 1,
                         seed)
    masks = seeded.draw(f'{prefix}pred_masks', (NUM_FRAMES, NUM_QUERIES, 24, 24), 'normal', 0, 3, seed)
    return logits.to(DEVICE), F.interpolate(masks.to(DEVICE), (96, 96), mode='bilinear', align_corners=False)


def prototype_loss(seeded, seed, subset, labels, readme):
    audio, prototypes = (
        F.normalize(seeded.draw(name, (num, 256), 'normal', 0, 1, seed).to(DEVICE), dim=-1)
        for name, num in (('audio_feat', NUM_FRAMES), ('proto_feat', NUM_PROTOTYPES[subset])))
    events = torch.zeros(len(labels), len(prototypes), device=DEVICE)
    if subset == 's4':
        categories = re.search(r'clip categories (\d+) and (\d+) \(1-based\)', readme)
        assert categories, 'the README does not name the categories of the two clips'
        present = [[int(category) - 1] for category in categories.groups()]
    else:
        present = labels.values()
    for row, classes in zip(events, present):
        row[classes] = 1
    log_temperature = torch.tensor(math.log(1 / 0.07), device=DEVICE)
    return prototype_audio_contrast(audio[list(labels)], prototypes, events, log_temperature)

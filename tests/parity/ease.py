"""EASE: seeded weights of the authors' model -> converter -> model of the config -> outputs, losses, gradients."""
import re
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from mmengine.registry import init_default_scope

import mmavs.models  # noqa: F401
from mmavs.checkpoint.converters import export_weights
from mmavs.checkpoint.converters.ease import PREFIX, convert_ease
from mmavs.registry import MODELS
from mmavs.structures import FrameTargets
from mmavs.utils.config import load_config

from . import DEVICE, targets
from .comparison import assert_within, largest, relative_errors
from .decisions import compare_with_ties
from .label_maps import read_ground_truth
from .slices import steps

KEYS = {'subset', 'backbone', 'size', 'frames', 'clips', 'seed', *targets.KEYS}
CONFIGS = Path(__file__).parents[2] / 'configs'
# Names of the cases, without what separates their parts.
BACKBONES = {
    'dinov3vitb16': 'dinov3-b', 'dinov3b': 'dinov3-b', 'vitb16': 'dinov3-b', 'vitb': 'dinov3-b',
    'dinov3vitl16': 'dinov3-l', 'dinov3l': 'dinov3-l', 'vitl16': 'dinov3-l', 'vitl': 'dinov3-l',
    'dinov2vitb14': 'dinov2-b', 'dinov2b': 'dinov2-b', 'pvtv2b5': 'pvt-v2-b5', 'pvtv2': 'pvt-v2-b5', 'pvt': 'pvt-v2-b5'}
LOSSES = {'loss_cross_entropy': 'loss_cls', 'loss_mask': 'loss_mask', 'loss_dice': 'loss_dice'}
GRADIENT = 'grad_norm.'
TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 5e-4
# Assignments to clusters are nearly saturated, so that their gradients are differences of nearly equal values.
CENTERS, CENTERS_TOLERANCE = 'gumbel_clustering.cluster_centers', 2e-2
OUT_SHAPE = (224, 224)


def check(directory, case, seeded):
    expected = seeded.expected(directory.name, directory.parent)
    readme = (directory / 'README.md').read_text()
    gradients = {key.removeprefix(GRADIENT): expected.pop(key) for key in list(expected) if key.startswith(GRADIENT)}
    weights = seeded.state_dict(directory.name, directory.parent)
    conversion = convert_ease(weights)
    assert_round_trip(conversion, weights)
    model = build_model(case, conversion.state_dict, readme)
    features, audio = inputs(model, case, seeded)

    found = outputs(model, features(), audio, tuple(case['size']), readme)
    assert found['argmax'].shape == expected['argmax'].shape
    labels = np.stack((found.pop('argmax'), expected.pop('argmax')), axis=1).astype(np.int64)
    scores = found.pop('scores')
    ours, theirs = np.moveaxis(np.take_along_axis(scores, labels, axis=1), 1, 0)
    errors = relative_errors(found, {key: expected.pop(key) for key in found if key in expected})
    errors['score of a label that differs'] = (ours - theirs).max() / np.abs(scores).max()

    total = []
    compute = losses(model, features, audio, frame_targets(case, seeded, readme), seeded, total, readme)
    _, of_masked, flipped = compare_with_ties(compute, lambda found: relative_errors(found, expected), TOLERANCE)
    errors.update(of_masked)
    total[0].backward()
    parameters = dict(model.named_parameters())
    of_norms = {name: abs(parameters[conversion.used[name]].grad.norm().item() / norm - 1)
                for name, norm in gradients.items()}
    print(f"{directory.name}: largest errors relative to the array's largest magnitude:", largest(errors))
    print(f'{directory.name}: largest errors of gradient norms relative to their own value:', largest(of_norms))
    for decision in flipped:
        print(f'{directory.name}: tied, and taken as the reference has it: {decision}')
    assert_within(errors, TOLERANCE)
    of_centers = {name: error for name, error in of_norms.items() if name.endswith(CENTERS)}
    assert_within(of_centers, CENTERS_TOLERANCE)
    assert_within({name: error for name, error in of_norms.items() if name not in of_centers}, GRADIENT_TOLERANCE)


def assert_round_trip(conversion, weights):
    """Every key is used, or dropped with a reason; the export gives the authors' names and values back."""
    assert set(conversion.used) | set(conversion.dropped) == set(weights)
    exported = export_weights('ease', conversion.state_dict).state_dict
    used = {key.removeprefix(PREFIX): weights[key] for key in conversion.used}
    assert exported.keys() == used.keys()
    assert all(torch.equal(x, used[key]) for key, x in exported.items())


def config_path(case):
    """Config of the row of a case."""
    backbone = BACKBONES.get(re.sub(r'[-_/]', '', case['backbone']))
    if backbone is None:
        raise NotImplementedError(f"case.json: backbone is {case['backbone']!r}, expected one of "
                                  f'{", ".join(BACKBONES)}')
    size = '' if case['size'][0] == 224 else f"-{case['size'][0]}"
    return CONFIGS / f"ease/ease_{backbone}{size}_{case['subset']}.py"


def build_model(case, weights, readme):
    """Model without the audio backbone: the cases give its embedding, like the input of the authors' model."""
    init_default_scope('mmavs')
    config = load_config(str(config_path(case))).model
    config.audio_backbone = dict(type='VGGish', output='conv', channels=(1, ) * 6)
    stated = re.search(r'before blocks? \[?(\d+(?:(?:, ?| ?\.\. ?)\d+)*)', readme)
    if stated:
        config.decode_head.fusion_blocks = targets.frame_numbers(stated[1].replace(' ', ''))
    model = MODELS.build(config)
    loaded = model.load_state_dict(weights, strict=False)
    assert loaded.unexpected_keys == []
    assert all(key.startswith('audio_backbone.') for key in loaded.missing_keys), loaded.missing_keys
    return model.to(DEVICE).eval()


def inputs(model, case, seeded):
    """Function that makes the features of the case, and its audio tokens."""
    seed, num = case['seed'], case['frames']
    frames = seeded.frames(seed, num, *case['size'])
    batch = model.data_preprocessor(dict(inputs=[dict(frames=frames)]))
    audio = seeded.draw('audio_feature', (num, 128), 'positive', 0, 1, seed).to(DEVICE)[:, None]
    return lambda: model.backbone(batch['inputs']['frames'].flatten(0, 1)), audio


@torch.no_grad()
def outputs(model, features, audio, size, readme):
    fused, head = [], model.decode_head
    patches, maps = steps(readme, 'fused_first', '::7, ::48'), steps(readme, 'mask_features', '::48, ::4, ::4')
    coarse, masks = steps(readme, 'sem_seg', '::8, ::8'), steps(readme, 'pred_masks', '::10, ::2, ::2')
    tokens, queries = steps(readme, 'audio_tokens', ':, :, ::2'), steps(readme, 'queries =', '::10')
    hook = head.fuser.register_forward_hook(lambda module, args, x: fused.append(x[(0, *patches)]))
    valid = torch.ones(1, len(audio), dtype=torch.bool)
    found = head(features, audio, valid)
    hook.remove()
    scores = head.predict(features, audio, valid, size)
    scores = torch.nn.functional.interpolate(scores, OUT_SHAPE, mode='bilinear', align_corners=False)
    found = dict(
        scores=scores,
        argmax=scores.argmax(1),
        sem_seg=scores[([0, -1], slice(None), *coarse)],
        pred_logits=found['class_logits'],
        pred_masks=found['mask_logits'][([0, -1], *masks)],
        audio_tokens=found['audio_tokens'][tokens],
        queries=found['queries'][(0, *queries)],
        mask_features=found['mask_features'][(0, *maps)],
        fused_first=fused[0],
        fused_late=fused[-1])
    return {key: value.cpu().numpy() for key, value in found.items()}


def losses(model, features, audio, truth, seeded, total, readme):
    """Function that computes the predictions with masked attention and their losses; ``total[0]`` is their sum."""
    head, parts = model.decode_head, steps(readme, 'masked.pred_masks', '::10, ::4, ::4')
    # Masked attention, without the noise and the dropout of training.
    head.training = True
    valid = torch.ones(1, len(audio), dtype=torch.bool)

    def compute():
        total.clear()
        raw = head(features(), audio, valid)
        predictions = [*raw['aux'], (raw['class_logits'], raw['mask_logits'])]
        with mock.patch.object(torch, 'rand', lambda *shape, device: seeded.grid_rand(shape).to(device)):
            terms = head.criterion(predictions, truth)
        total.append(sum(terms.values()))
        found = {
            'masked.pred_logits': torch.stack([logits[0] for logits, _ in predictions]),
            'masked.pred_masks': torch.stack([masks[(0, *parts)] for _, masks in predictions]),
            'loss': total[0],
        }
        num_earlier = len(predictions) - 1
        for theirs, ours in LOSSES.items():
            weight = head.criterion.weights[ours]
            found[theirs] = terms[ours] / weight
            for i in range(num_earlier):
                found[f'{theirs}_block_{i - num_earlier}'] = terms[f'd{i}.{ours}'] / weight
        return {key: value.detach().cpu().numpy() for key, value in found.items()}

    return compute


def frame_targets(case, seeded, readme):
    masks, labelled = read_ground_truth(case, readme, seeded, case['frames'], target_size(readme))
    return FrameTargets(masks=masks.to(DEVICE), labelled=labelled, events=None)


def target_size(readme):
    """(H, W) of the masks, which stands in the call that makes them; that of EASE's masks if it does not."""
    match = re.search(r'Losses\b.*?seeded\.frames\(\d+, ?\d+, ?(\d+), ?(\d+)', readme, re.S)
    return (int(match[1]), int(match[2])) if match else OUT_SHAPE

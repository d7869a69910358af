"""COMBO: seeded weights of the authors' model -> converter -> model of the config -> outputs, losses, gradients."""
import re
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from mmengine.registry import init_default_scope
from torch.utils.checkpoint import checkpoint

import mmavs.models  # noqa: F401
from mmavs.checkpoint.converters import export_weights
from mmavs.checkpoint.converters.combo import convert_combo
from mmavs.registry import MODELS
from mmavs.structures import AVSDataSample
from mmavs.utils.config import load_config

from . import DEVICE, targets
from .comparison import assert_within, largest, relative_errors
from .decisions import compare_with_ties, watched_decisions
from .label_maps import read_ground_truth
from .slices import steps
from .vct import errors_of

KEYS = {'subset', 'backbone', 'size', 'frames', 'seed', 'clips', *targets.KEYS}
CONFIGS = Path(__file__).parents[2] / 'configs'
# Names of the cases, without what separates their parts.
BACKBONES = {'resnet50': 'r50', 'r50': 'r50', 'pvtv2b5': 'pvt-v2-b5', 'pvtv2': 'pvt-v2-b5', 'pvt': 'pvt-v2-b5'}
# The released code compares adjacent frames in groups of a batch.
GROUP_SIZE = 5
LOSSES = dict(loss_ce='loss_cls', loss_mask='loss_mask', loss_dice='loss_dice', loss_cosine='loss_consistency')
GRADIENT = 'grad_norm.'
TOLERANCE = 1e-4
# Of the norm of a gradient, and of that of all together, relative to its own value. Both are float32: the first
# convolution, behind all blocks, differs by 1.1e-4.
GRADIENT_TOLERANCE = 5e-4
# Constants that the authors' models do not store, see the converter.
ADDED = re.compile(r'.*\.num_batches_tracked')


def check(directory, case, seeded):
    expected = seeded.expected(directory.name, directory.parent)
    gradients = {key.removeprefix(GRADIENT): expected.pop(key) for key in list(expected) if key.startswith(GRADIENT)}
    expected_losses = {key: expected.pop(key) for key in list(expected) if key.startswith('loss')}
    weights = seeded.state_dict(directory.name, directory.parent)
    conversion = convert_combo(weights)
    assert_round_trip(conversion, weights)
    model = build_model(case, conversion.state_dict)
    readme = (directory / 'README.md').read_text()
    batch = make_batch(model, case, seeded, readme)

    compute = outputs(model, batch, readme)
    found, errors, flipped = compare_with_ties(compute, lambda found: errors_of(found, expected), TOLERANCE)
    print(f"{directory.name}: largest errors relative to the array's largest magnitude:", largest(errors))
    for decision in flipped:
        print(f'{directory.name}: tied, and taken as the reference has it: {decision}')
    print(f"{directory.name}: {(found['argmax'] != expected['argmax']).sum()} of {found['argmax'].size} labels differ")
    assert_within(errors, TOLERANCE)

    trained = {name: conversion.used[name] for name in gradients}
    with (watched_decisions(flipped),
          mock.patch.object(torch, 'rand', lambda *shape, device: seeded.grid_rand(shape).to(device))):
        found, norms = losses(model, batch, trained)
    of_losses = relative_errors(found, expected_losses)
    of_norms = {name: abs(norms[name] / norm - 1) for name, norm in gradients.items()}
    total, expected_total = (np.linalg.norm(list(x.values())) for x in (norms, gradients))
    of_norms['norm of all gradients'] = abs(total / expected_total - 1)
    print(f'{directory.name}: largest errors of losses relative to their own value:', largest(of_losses))
    print(f'{directory.name}: largest errors of gradient norms relative to their own value:', largest(of_norms))
    assert_within(of_losses, TOLERANCE)
    assert_within(of_norms, GRADIENT_TOLERANCE)


def assert_round_trip(conversion, weights):
    """Every key is used, or dropped with a reason; the export gives the authors' names and values back."""
    assert set(conversion.used) | set(conversion.dropped) == set(weights)
    assert set(conversion.dropped) <= {'criterion.empty_weight'}
    exported = export_weights('combo', conversion.state_dict)
    assert all(ADDED.fullmatch(key) for key in exported.dropped)
    assert set(exported.state_dict) == set(conversion.used)
    assert all(torch.equal(x, weights[key]) for key, x in exported.state_dict.items())


def config_path(case):
    """Config of the released row of a case."""
    backbone = BACKBONES.get(re.sub(r'[-_/]', '', case['backbone']))
    if backbone is None:
        raise NotImplementedError(f"case.json: backbone is {case['backbone']!r}, expected one of "
                                  f'{", ".join(BACKBONES)}')
    return CONFIGS / f"combo/combo_{backbone}_{case['subset']}_as-released.py"


def build_model(case, weights):
    init_default_scope('mmavs')
    config = load_config(str(config_path(case))).model
    config.decode_head.consistency_loss.group_size = GROUP_SIZE
    model = MODELS.build(config)
    model.load_state_dict(weights, strict=True)
    model.to(DEVICE).eval()
    # In training mode the decoder also returns its earlier predictions; there it has no other effect.
    model.decode_head.training = model.decode_head.decoder.training = True
    return model


def make_batch(model, case, seeded, readme):
    """All frames as one clip: the released code knows no clips, it mixes the audio of the frames of a batch."""
    seed, size, num = case['seed'], tuple(case['size']), case['frames']
    cell = re.search(r'SAM-mask images = seeded\.frames\([\d, ]+cell=(\d+)\)', readme)
    frames, mask_prior = seeded.frames(seed, num, *size), seeded.frames(seed + 1000, num, *size, cell=int(cell[1]))
    masks, labelled = read_ground_truth(case, readme, seeded, num, size)
    sample = AVSDataSample(metainfo=dict(img_shape=size, out_shape=size))
    sample.valid, sample.labelled = torch.ones(num, dtype=torch.bool), labelled
    sample.gt_sem_seg = torch.where(labelled[:, None, None], masks, 255)
    clip = dict(frames=frames, mask_prior=mask_prior, log_mel=examples(case, seeded, readme))
    return model.data_preprocessor(dict(inputs=[clip], data_samples=[sample]))


def examples(case, seeded, readme):
    """The log-mel examples of the frames; on AVSS a case may have more, of padding frames."""
    rows = re.search(r'seeded\.log_mel\(\d+, ?(\d+)\)', readme)
    flags = re.search(r'flag\b[^=;\n]*= (?P<runs>(?:[01]x\d+,? ?)+)', readme)
    log_mel = seeded.log_mel(case['seed'], int(rows[1]))
    existing = torch.tensor(targets.runs(flags['runs'])) if flags else slice(case['frames'])
    return log_mel[existing]


def outputs(model, batch, readme):
    """Function that computes the outputs of the case."""
    coarse, masks = steps(readme, 'sem_seg', '::8, ::8'), steps(readme, 'pred_masks', '::10, ::2, ::2')
    aux, res2 = steps(readme, 'aux_masks', '::20, ::4, ::4'), steps(readme, 'res2', '::8, ::4, ::4')
    res5, maps = steps(readme, 'res5', '::16'), steps(readme, 'mask_features', '::16, ::4, ::4')
    intermediate = {}
    last = model.mask_prior or model.backbone
    for name, module in dict(pyramid=last, head=model.decode_head, audio=model.audio_backbone).items():
        module.register_forward_hook(lambda module, args, output, name=name: intermediate.update({name: output}))

    @torch.no_grad()
    def compute():
        sample = model(**batch, mode='predict', outputs=('pred_sem_seg', 'seg_logits'))[0]
        head, pyramid = intermediate['head'], intermediate['pyramid']
        ends = [0, -1]
        found = dict(
            scores=sample.seg_logits,
            sem_seg=sample.seg_logits[(ends, slice(None), *coarse)],
            argmax=sample.pred_sem_seg,
            pred_logits=head['class_logits'],
            pred_masks=head['mask_logits'][(ends, *masks)],
            aux_masks=torch.stack([logits[(1, *aux)] for _, logits in head['aux']]),
            vggish=intermediate['audio'].flatten(0, 2),
            res2=pyramid[0][(0, *res2)],
            res5=pyramid[3][(0, *res5)],
            mask_features=head['mask_features'][(0, *maps)],
            fused_visual=head['fused_features'][(0, *maps)],
            fused_audio=head['fused_audio'].squeeze(1),
            audio_query=head['audio_tokens'].squeeze(1))
        return {key: value.cpu().numpy() for key, value in found.items()}

    return compute


def losses(model, batch, trained):
    """Losses under the official names, and the norms of the gradients of the parameters ``trained``."""
    for module in (model.backbone, model.mask_prior.backbone):
        in_pieces(module)
    wanted = set(trained.values())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in wanted)
    terms = model(**batch, mode='loss')
    sum(terms.values()).backward()
    head = model.decode_head
    weights = head.criterion.weights | dict(loss_consistency=head.consistency_loss.weight)
    found = dict(loss=sum(terms.values()).item())
    for official, name in LOSSES.items():
        for key, term in terms.items():
            if key.split('.')[-1] == name:
                suffix = f"_{key.split('.')[0][1:]}" if '.' in key else ''
                found[official + suffix] = term.item() / weights[name]
    parameters = dict(model.named_parameters())
    norms = {official: parameters[name].grad.norm().item() for official, name in trained.items()}
    return {key: np.array(value) for key, value in found.items()}, norms


def in_pieces(backbone):
    """Compute a backbone frame by frame, and again in the backward pass, which takes a fraction of the memory."""
    forward = backbone.forward

    def piecewise(frames):
        maps = zip(*(checkpoint(forward, frame, use_reentrant=False) for frame in frames.split(1)))
        return tuple(map(torch.cat, maps))

    backbone.forward = piecewise

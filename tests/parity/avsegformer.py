"""AVSegFormer (both versions): seeded weights of the authors' model -> converter -> outputs, losses, gradients."""
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmavs.models  # noqa: F401
from mmavs.checkpoint.converters.avsegformer import convert_avsegformer
from mmavs.registry import MODELS
from mmavs.structures import AVSDataSample

from . import DEVICE, targets
from .comparison import assert_within, largest, relative_errors

KEYS = {'subset', 'backbone', 'size', 'frames', 'seed', 'clips', *targets.KEYS}
CONFIGS = Path(__file__).parents[2] / 'configs/_base_/models'
BACKBONES = {'resnet-50': 'r50', 'pvt-v2-b5': 'pvt-v2-b5'}
NUM_CLASSES = dict(s4=1, ms3=1, avss=71)
LOSSES = {'iou_loss': 'loss_mask', 'mix_loss': 'loss_mix', **{f'mask_loss{i}': f'd{i}.loss_mask' for i in range(6)}}
GRADIENT = 'grad_norm.'
TOLERANCE = 1e-4
# Of the norm of a gradient, and of that of all together, relative to its own value. Rounding moves some of the 25
# million hidden values of the mask perceptron across 0, and with them the norms: the reference's, which are float32, by
# up to 1.2e-4 from ours in float64; ours by 4e-4 when the input changes by 1e-7, or by 5e-4 in float32 with the
# reference's order of operations. So what is beyond the tolerance in float32 is computed again in float64.
GRADIENT_TOLERANCE = 5e-4
# Frames of each clip that are predicted. They are independent, so that more would show nothing else.
PREDICTED = [0, 4]


def check(directory, case, seeded):
    expected = seeded.expected(directory.name, directory.parent)
    gradients = {key.removeprefix(GRADIENT): expected.pop(key) for key in list(expected) if key.startswith(GRADIENT)}
    if case['subset'] != 'avss':  # where the case holds these frames only
        clips = expected['pred'].reshape(case['clips'], -1, *expected['pred'].shape[1:])
        expected['pred'] = clips[:, PREDICTED].reshape(-1, *clips.shape[2:])
    conversion = convert_avsegformer(seeded.state_dict(directory.name, directory.parent))
    model = build_model(case, conversion.state_dict)
    batch = make_batch(model, case, seeded, (directory / 'README.md').read_text())

    found, trained = outputs(model, batch, case), {conversion.used[name] for name in gradients}
    for dtype in (torch.float32, torch.float64):
        errors = relative_errors(found | losses(model.to(dtype), batch, trained, dtype), expected)
        of_norms = errors_of_norms(model, conversion.used, gradients)
        if max(errors.values()) <= TOLERANCE and max(of_norms.values()) <= GRADIENT_TOLERANCE:
            break  # float64 takes three times as long
    print(f"{directory.name}: largest errors relative to the array's largest magnitude:", largest(errors))
    print(f'{directory.name}: largest errors of gradient norms relative to their own value:', largest(of_norms))
    assert_within(errors, TOLERANCE)
    assert_within(of_norms, GRADIENT_TOLERANCE)


def errors_of_norms(model, used, gradients):
    """Errors of the norms of the gradients, and of that of all of them together, relative to their own value."""
    parameters = dict(model.named_parameters())
    norms = {name: parameters[used[name]].grad.norm().item() for name in gradients}
    errors = {name: abs(norms[name] / norm - 1) for name, norm in gradients.items()}
    total, expected_total = (np.linalg.norm(list(x.values())) for x in (norms, gradients))
    return errors | {'norm of all gradients': abs(total / expected_total - 1)}


def build_model(case, weights):
    init_default_scope('mmavs')
    config = Config.fromfile(CONFIGS / f"{case['method']}_{BACKBONES[case['backbone']]}.py").model
    config.decode_head.num_classes = NUM_CLASSES[case['subset']]
    model = MODELS.build(config)
    model.load_state_dict(weights, strict=True)
    return model.to(DEVICE).eval()


def make_batch(model, case, seeded, readme):
    """The preprocessed clips of a case with their ground truth; all clips have the same padding."""
    subset, seed, size, num_clips = case['subset'], case['seed'], tuple(case['size']), case['clips']
    num = case['frames']
    frames = seeded.frames(seed, num, *size).unflatten(0, (num_clips, -1))
    log_mel = seeded.log_mel(seed, num).unflatten(0, (num_clips, -1))
    values = seeded.frames(seed + 500, num, *size, cell=32)[:, 0]
    masks = values % 71 if subset == 'avss' else (values > 150).byte()
    supervised, empty = targets.supervision(case, readme, num_clips, num)
    masks[empty] = 0
    labelled = torch.tensor(supervised).unflatten(0, (num_clips, -1))
    valid = torch.ones(frames.shape[1], dtype=torch.bool)
    if subset == 'avss':
        match = re.search(r'\(valid video frames\) = (?P<runs>(?:[01]x\d+,? ?)+)', readme)
        valid = torch.tensor(targets.runs(match['runs']))

    samples = []
    for clip_masks, flags in zip(masks.unflatten(0, (num_clips, -1)), labelled):
        sample = AVSDataSample(metainfo=dict(img_shape=size, out_shape=size))
        sample.valid, sample.labelled = valid, flags
        sample.gt_sem_seg = torch.where(flags[:, None, None], clip_masks, 255)
        samples.append(sample)
    clips = [dict(frames=f, log_mel=a) for f, a in zip(frames, log_mel)]
    return model.data_preprocessor(dict(inputs=clips, data_samples=samples))


@torch.no_grad()
def outputs(model, batch, case):
    intermediate = {}
    hook = model.backbone.register_forward_hook(lambda module, args, maps: intermediate.update(backbone=maps))
    # Of these outputs only those of the first frame are compared.
    head = model({key: x[:1, :1] for key, x in batch['inputs'].items()}, mode='tensor')
    hook.remove()
    chosen = PREDICTED + [9] * (case['subset'] == 'avss')  # the last of ten frames is padding, which is not computed
    clips = [AVSDataSample(metainfo=sample.metainfo, valid=sample.valid[chosen]) for sample in batch['data_samples']]
    inputs = {key: x[:, chosen] for key, x in batch['inputs'].items()}
    samples = model(inputs, clips, mode='predict', outputs=('seg_logits', ))
    log_mel = batch['inputs']['log_mel']
    logits = torch.cat([sample.seg_logits for sample in samples])
    pyramid = intermediate['backbone']
    found = dict(
        pred=logits[:2, :, ::8, ::8] if case['subset'] == 'avss' else logits[:, :, ::4, ::4],
        vggish=model.audio_backbone(log_mel, log_mel.shape[1]).flatten(0, 1).squeeze(1),
        enc=head['encoded'][0, ::16, ::8],
        c1=pyramid[0][0, ::8, ::6, ::6],
        c4=pyramid[3][0, ::16],
        mask_feature=head['mixed_feature'][0, ::16, ::4, ::4],
        mask_feature_before_mixer=head['mask_feature'][0, ::16, ::4, ::4])
    return {key: value.cpu().numpy() for key, value in found.items()}


def losses(model, batch, trained, dtype):
    """Losses under the official names; gradients are left in the parameters named ``trained``.

    Frame by frame, which takes less memory: losses are means over the labelled frames, and in evaluation mode batch
    norms do not mix frames.
    """
    model.independent_frames = True
    model.zero_grad()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    inputs = {key: x.to(dtype) if x.is_floating_point() else x for key, x in batch['inputs'].items()}
    samples = batch['data_samples']
    frames = torch.stack([sample.labelled for sample in samples]).nonzero().tolist()
    found = Counter()
    for clip, frame in frames:
        sample = AVSDataSample(labelled=torch.arange(len(samples[clip].labelled)) == frame,
                               gt_sem_seg=samples[clip].gt_sem_seg)
        terms = model({key: x[clip:clip + 1] for key, x in inputs.items()}, [sample], mode='loss')
        total = sum(terms.values())
        (total / len(frames)).backward()
        found['loss'] += total.item() / len(frames)
        for official, name in LOSSES.items():
            if name in terms:
                found[f'loss.{official}'] += terms[name].item() / len(frames)
    return {key: np.array(value) for key, value in found.items()}

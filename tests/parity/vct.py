"""VCT: seeded weights of the authors' model -> converter -> model of the config -> outputs."""
from math import isqrt
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

import mmavs.models  # noqa: F401
from mmavs.checkpoint.converters.vct import convert_vct
from mmavs.registry import MODELS
from mmavs.structures import AVSDataSample

from . import DEVICE
from .comparison import assert_within, relative_errors
from .decisions import compare_with_ties

KEYS = {'subset', 'backbone', 'size', 'frames', 'seed', 'clips'}
CONFIGS = Path(__file__).parents[2] / 'configs'
# Configs of each backbone with and without mask priors; the size is that of the case.
BACKBONES = {'swin-b': 'vct_swin-b', 'resnet-50': 'vct_r50-224', 'pvt-v2-b5': 'vct_pvt-v2-b5-224'}
TOLERANCE = 1e-4
OUT_SHAPE = (224, 224)


def check(directory, case, seeded):
    if case['backbone'] not in BACKBONES:
        raise NotImplementedError(f"{directory}/case.json: backbone is {case['backbone']!r}, expected one of "
                                  f'{", ".join(BACKBONES)}')
    expected = seeded.expected(directory.name, directory.parent)
    num_frames, num_examples = len(expected['argmax']), len(expected['vggish'])
    compute = outputs(build_model(directory, case, seeded), case, seeded, num_frames, num_examples)
    found, errors, flipped = compare_with_ties(compute, lambda found: errors_of(found, expected), TOLERANCE)
    print(f"{directory.name}: largest error relative to the array's largest magnitude:", errors)
    for decision in flipped:
        print(f'{directory.name}: tied, and taken as the reference has it: {decision}')
    assert_within(errors, TOLERANCE)
    print(f"{directory.name}: {(found['argmax'] != expected['argmax']).sum()} of {found['argmax'].size} labels differ")


def errors_of(found, expected):
    """Errors of the arrays; labels may differ only where the scores of the two are tied within the tolerance."""
    errors = relative_errors(found, {key: values for key, values in expected.items() if key != 'argmax'})
    assert found['argmax'].shape == expected['argmax'].shape
    labels = np.stack((found['argmax'], expected['argmax']), axis=1).astype(np.int64)
    ours, theirs = np.moveaxis(np.take_along_axis(found['scores'], labels, axis=1), 1, 0)
    return errors | {'score of a label that differs': (ours - theirs).max() / np.abs(found['scores']).max()}


def build_model(directory, case, seeded):
    init_default_scope('mmavs')
    weights = convert_vct(seeded.state_dict(directory.name, directory.parent)).state_dict
    has_prior = any(key.startswith('mask_prior.') for key in weights)
    name = f"{BACKBONES[case['backbone']]}_{case['subset']}{'_mask-prior' * has_prior}"
    config = Config.fromfile(CONFIGS / f'vct/{name}.py').model
    config.decode_head.input_size = tuple(case['size'])
    # The window of the Swin Transformer follows the size that it was pretrained at.
    table = weights.get('backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table')
    for branch in (config, config.get('mask_prior')):
        if branch is not None and table is not None:
            branch.backbone.window_size = (isqrt(len(table)) + 1) // 2
    model = MODELS.build(config)
    model.load_state_dict(weights, strict=True)
    return model.to(DEVICE).eval()


def outputs(model, case, seeded, num, num_examples):
    """Function that computes the outputs of the case, of ``num`` frames and ``num_examples`` log-mel examples."""
    seed, size, num_clips = case['seed'], tuple(case['size']), case['clips']
    frames = seeded.frames(seed, num, *size).unflatten(0, (num_clips, -1))
    mask_prior = seeded.frames(seed + 1000, num, *size, cell=48).unflatten(0, (num_clips, -1))
    log_mel = seeded.log_mel(seed, num_examples).unflatten(0, (num_clips, -1))

    samples = [AVSDataSample(metainfo=dict(img_shape=size, out_shape=OUT_SHAPE)) for _ in range(num_clips)]
    clips = [dict(frames=f, mask_prior=p, log_mel=a) for f, p, a in zip(frames, mask_prior, log_mel)]
    batch = model.data_preprocessor(dict(inputs=clips, data_samples=samples))
    intermediate = {}
    for name in ('backbone', 'decode_head'):
        getattr(model, name).register_forward_hook(
            lambda module, args, output, name=name: intermediate.update({name: output}))

    @torch.no_grad()
    def compute():
        samples = model(**batch, mode='predict', outputs=('pred_sem_seg', 'seg_logits'))
        pyramid, head = intermediate['backbone'], intermediate['decode_head']
        scores = torch.cat([sample.seg_logits for sample in samples])
        conv_map = model.audio_backbone(log_mel.to(DEVICE), log_mel.shape[1]).flatten(0, 1).transpose(1, 2)
        found = dict(
            scores=scores,
            sem_seg=scores[[0, -1], :, ::8, ::8],
            argmax=torch.cat([sample.pred_sem_seg for sample in samples]),
            pred_logits=head['class_logits'],
            pred_masks=head['mask_logits'][0, ::10, ::4, ::4],
            ppqg=head['queries'][0],
            vggish=conv_map.flatten(1)[:, ::97],
            res2=pyramid[0][0, ::16, ::12, ::12],
            res5=pyramid[3][0, ::32])
        return {key: value.cpu().numpy() for key, value in found.items()}

    return compute

"""TPAVI: seeded weights of the authors' model -> converter -> model of the config -> outputs."""
from pathlib import Path

import torch
from mmengine.registry import init_default_scope

import mmavs.models  # noqa: F401
from mmavs.checkpoint.converters.tpavi import convert_tpavi
from mmavs.registry import MODELS
from mmavs.utils.config import load_config

from . import DEVICE
from .comparison import assert_within, relative_errors

KEYS = {'subset', 'backbone', 'size', 'frames', 'seed', 'clips'}
CONFIGS = Path(__file__).parents[2] / 'configs'
BACKBONES = {'resnet-50': 'r50', 'pvt-v2-b5': 'pvt-v2-b5'}
TOLERANCE = 1e-4
GROUP_SIZE = 5


def check(directory, case, seeded):
    if case['backbone'] not in BACKBONES:
        raise NotImplementedError(f"{directory}/case.json: backbone is {case['backbone']!r}, expected one of "
                                  f'{", ".join(BACKBONES)}')
    expected = seeded.expected(directory.name, directory.parent)
    model = build_model(directory, case, seeded)
    # The projected audio of a padding frame is 0: on AVSS it has no bias.
    exists = torch.from_numpy((expected['a_fea0'] != 0).any(2)).view(case['clips'], -1)
    found = outputs(model, case, seeded, exists)
    errors = relative_errors(found, expected)
    print(f"{directory.name}: largest error relative to the array's largest magnitude:", errors)
    assert_within(errors, TOLERANCE)


def build_model(directory, case, seeded):
    """Model without the audio backbone: the cases give its embedding, like the input of AVSBench's models."""
    init_default_scope('mmavs')
    config = load_config(str(CONFIGS / f"tpavi/tpavi_{BACKBONES[case['backbone']]}_{case['subset']}.py")).model
    config.audio_backbone = dict(type='VGGish', output='conv', channels=(1, ) * 6)
    model = MODELS.build(config)
    weights = convert_tpavi(seeded.state_dict(directory.name, directory.parent)).state_dict
    loaded = model.load_state_dict(weights, strict=False)
    assert loaded.unexpected_keys == []
    assert all(key.startswith('audio_backbone.') for key in loaded.missing_keys), loaded.missing_keys
    return model.to(DEVICE).eval()


@torch.no_grad()
def outputs(model, case, seeded, valid):
    """Outputs that the case holds, of clips whose frames exist as ``valid`` (B, T) says."""
    seed, size, num_clips = case['seed'], tuple(case['size']), case['clips']
    num = case['frames']
    frames = seeded.frames(seed, num, *size).unflatten(0, (num_clips, -1))
    embedding = seeded.draw('audio_feature', (num, 128), 'positive', 0, 1, seed)
    embedding[~valid.flatten()] = 0
    embedding = embedding.to(DEVICE)

    batch = model.data_preprocessor(dict(inputs=[dict(frames=clip) for clip in frames]))
    features = model.backbone(batch['inputs']['frames'].flatten(0, 1))
    head = model.decode_head(features, embedding[:, None], valid)
    scores = model.decode_head.predict(features, embedding[:, None], valid, size)
    assert torch.equal(scores, head['logits'])
    found = dict(pred=scores[..., ::4, ::4] if case['subset'] != 'avss' else scores[[0, 4], :, ::8, ::8])
    for i, visual_map in enumerate(head['visual_maps']):
        stride = max(1, visual_map.shape[-2] // 14)
        found[f'v_map{i}'] = visual_map[0, ::32, ::stride, ::stride]
    for i, projected in zip(model.decode_head.stages, head['projected_audio']):
        found[f'a_fea{i}'] = (projected * valid.flatten()[:, None].to(DEVICE)).unflatten(0, (-1, GROUP_SIZE))
    return {key: value.cpu().numpy() for key, value in found.items()}

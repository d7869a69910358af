"""Build every config of the repository as a small model, train all its parameters, and predict."""
import re
from pathlib import Path

import pytest
import torch
from small_models import FRAME, loss_of, make_clip, predict, randomize_constant_init, small_config
from torch import nn

from mmavs.models.backbones import TimmCNN
from mmavs.registry import MODELS

CONFIGS = Path(__file__).parents[1] / 'configs'
PATHS = sorted(path for path in CONFIGS.glob('*/**/*.py') if path.relative_to(CONFIGS).parts[0] != '_base_')
# Parameters without a gradient by design -> the reason.
NO_GRADIENT: dict[str, str] = {
    r'decode_head\.fuser\.weight\.bias': 'of EASE: a softmax over the tokens follows, which it does not change',
}
# Models and clips of which the test has passed in this process.
passed: set[str] = set()


def frozen_by_design(model: nn.Module) -> set[str]:
    """Return the parameters of frozen backbones and of frozen batch norms of image backbones."""
    frozen_stages = [module.frozen_modules() for module in model.modules() if isinstance(module, TimmCNN)]
    weights = {id(weight) for stages in frozen_stages for module in stages for weight in module.parameters()}
    frozen = {name for name, weight in model.named_parameters() if id(weight) in weights}
    if model.audio_backbone.frozen:
        frozen |= {f'audio_backbone.{name}' for name, _ in model.audio_backbone.named_parameters()}
    branches = {'backbone.': model.backbone}
    if model.mask_prior is not None:
        branches['mask_prior.backbone.'] = model.mask_prior.backbone
    for prefix, backbone in branches.items():
        if getattr(backbone, 'norm_cfg', {}).get('requires_grad') is False:
            norms = (name for name, m in backbone.named_modules() if isinstance(m, nn.BatchNorm2d))
            frozen |= {f'{prefix}{name}.{kind}' for name in norms for kind in ('weight', 'bias')}
    return frozen


@pytest.mark.parametrize('path', PATHS, ids=lambda path: str(path.relative_to(CONFIGS).with_suffix('')))
def test_config_trains_every_parameter_and_predicts(path):
    torch.manual_seed(0)
    config = small_config(path)
    if config.backbone.get('num_groups'):
        # Fewer groups than tokens, as at full size: the attention to a group of one token has no gradient.
        config.backbone.num_groups = (16, 8, 4, 2)
    num_frames = 1 if 'vpo' in path.stem else 5
    first_frame_only = [True] + [False] * 4
    labelled = first_frame_only if 's4' in path.stem.split('_') else None
    case = repr((config, num_frames, labelled))
    if case in passed:
        return  # configs that differ only in data and schedule
    model = MODELS.build(config)
    randomize_constant_init(model)
    clips = [make_clip(model, num_frames, labelled) for _ in range(2)]
    loss_of(model.train(), clips).backward()
    idle = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert [name for name in idle if not any(re.fullmatch(pattern, name) for pattern in NO_GRADIENT)] == []
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == frozen_by_design(model)

    sample = predict(model, clips[0])[0]
    assert sample.pred_sem_seg.shape == (num_frames, FRAME, FRAME)
    assert sample.seg_logits.shape == (num_frames, model.decode_head.num_classes, FRAME, FRAME)
    assert sample.seg_logits.isfinite().all()
    passed.add(case)

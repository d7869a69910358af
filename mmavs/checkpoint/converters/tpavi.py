"""Convert TPAVI (ECCV 2022): models of AVSBench -> ``AudioVisualSegmentor`` with ``TPAVIHead``."""
from collections.abc import Mapping

from torch import Tensor

from .pvt_v2 import pvt_v2_rules
from .registry import Converter, Traits, register
from .resnet import resnet_rules
from .rules import Conversion, Drop, Rename, apply_rules

# AVSBench extracts audio features by a separate model; the published VGGish completes the converted checkpoint.
ABSENT = r'audio_backbone\..*'
LEFT_OUT = [Drop(ABSENT, 'AVSBench extracts audio features by a separate model')]


def _matrix(kernel: Tensor) -> Tensor:
    """Flatten the weight (out, in, 1, 1, 1) of a 1x1x1 convolution to (out, in)."""
    return kernel.flatten(1)


def _kernel(matrix: Tensor) -> Tensor:
    """Invert :func:`_matrix`."""
    return matrix[..., None, None, None]


def _stage_rules(stage: int) -> list[Rename | Drop]:
    """Make the rules for a stage of the head; AVSBench counts stages from 1."""
    block, path = rf'tpavi_b{stage}\.', rf'path{stage}\.'
    ours, decoder, index = f'decode_head.tpavi.{stage - 1}.', 'decode_head.decoder.', stage - 1
    return [
        Rename(rf'conv{stage}\.conv2d_list\.([0-3])\.(\w+)', rf'decode_head.fusion.{index}.\1.\2'),
        Rename(block + r'align_channel\.(\w+)', ours + r'align_channel.\1'),
        Rename(block + r'(theta|phi|g)\.weight', ours + r'\1.weight', _matrix, _kernel),
        Rename(block + r'(theta|phi|g)\.bias', ours + r'\1.bias'),
        Rename(block + r'W_z\.0\.weight', ours + 'mu.weight', _matrix, _kernel),
        Rename(block + r'W_z\.0\.bias', ours + 'mu.bias'),
        Rename(block + r'W_z\.1\.(\w+)', ours + r'batch_norm.\1'),
        Rename(block + r'norm_layer\.(\w+)', ours + r'norm.\1'),
        Drop(r'path4\.resConfUnit1\.conv[12]\.\w+', 'never used, nothing is added to the coarsest map'),
        Rename(path + r'resConfUnit1\.(conv[12]\.\w+)', rf'{decoder}lateral.{index}.\1'),
        Rename(path + r'resConfUnit2\.(conv[12]\.\w+)', rf'{decoder}refine.{index}.\1'),
    ]


RULES = [
    *pvt_v2_rules('encoder_backbone.', 'backbone.'),
    *resnet_rules('resnet.', 'backbone.'),
    *(rule for stage in (1, 2, 3, 4) for rule in _stage_rules(stage)),
    Rename(r'output_conv\.([024])\.(\w+)', r'decode_head.decoder.output_conv.\1.\2'),
]


def convert_tpavi(weights: Mapping[str, Tensor]) -> Conversion:
    """Convert the state dict of the authors' model (S4, MS3 or AVSS) to that of the matching config's model.

    It lacks the audio backbone, because AVSBench trains on stored features.
    """
    return apply_rules(weights, RULES, 'tpavi')


def target_config(weights: Mapping[str, Tensor]) -> str:
    """Find the config, relative to ``configs/``, that converted weights belong to.

    Raises:
        ValueError: The weights fit several configs (S4 and MS3 share their architecture), or no published subset.
    """
    num_outputs = len(weights.get('decode_head.decoder.output_conv.4.weight', ()))
    backbone = 'r50' if 'backbone.layer1.0.conv1.weight' in weights else 'pvt-v2-b5'
    name = f'tpavi/tpavi_{backbone}'
    if num_outputs == 71:
        return f'{name}_avss.py'
    if num_outputs != 1:
        raise ValueError(f'tpavi: the checkpoint has {num_outputs} output channels, expected 1 (S4, MS3) or 71 (AVSS): '
                         'name the config that it was trained with')
    raise ValueError('tpavi: S4 and MS3 have the same model, and the weights do not tell which of them is that of the '
                     f'training: name its config, --config configs/{name}_s4.py or configs/{name}_ms3.py')


register('tpavi', Converter(convert_tpavi, RULES, target_config, ABSENT, LEFT_OUT),
         Traits(published=r'tpavi_b\d\.', classifier=r'decoder\.output_conv\.4\.(weight|bias)$'))

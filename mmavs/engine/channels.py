"""Compare the channels that a config states with those that the parts of its model have."""
from collections.abc import Iterator, Mapping

import torch
from torch import nn

# Height and width of the frame that measures the pyramid: a multiple of the strides and windows of all backbones.
PROBE_SIZE = 64
RGB = 3


def check_channels(model: nn.Module, config: Mapping) -> None:
    """Raise a ValueError that names the key if a part expects other channels than it gets.

    Those are the channels of frames in the visual backbones, and in the head those of the branches.

    The pyramid is measured on one black frame of 64x64. A backbone that does not take this size is not checked.

    Args:
        model: An ``AudioVisualSegmentor``, whose weights may be random; any other model passes.
        config: Its config.
    """
    path, backbone = 'model.backbone', config.get('backbone') or {}
    while backbone:  # wrappers, such as AudioGuidedBackbone, have a backbone in them
        if backbone.get('in_channels', RGB) != RGB:
            raise ValueError(f"{path}.in_channels is {backbone['in_channels']}, frames have {RGB} channels: set "
                             f'{path}.in_channels={RGB}')
        path, backbone = f'{path}.backbone', backbone.get('backbone')
    audio_channels = getattr(getattr(model, 'audio_backbone', None), 'embed_dims', None)
    if audio_channels is None or not hasattr(model, 'backbone'):
        return
    for part in ('backbone', 'decode_head', 'presence'):
        for key, stated in _stated(config.get(part) or {}, 'audio_channels', f'model.{part}'):
            if stated != audio_channels:
                raise ValueError(f'{key} is {stated}, the audio backbone gives {audio_channels}: set {key}='
                                 f'{audio_channels}, or choose another audio backbone')
    found = pyramid_channels(model.backbone, audio_channels)
    expected = list(_stated(config.get('decode_head', {}), 'in_channels', 'model.decode_head'))
    expected += _stated(config.get('presence') or {}, 'in_channels', 'model.presence')
    if config.get('mask_prior'):
        expected += _stated(config['mask_prior'], 'channels', 'model.mask_prior')
    for key, stated in expected:
        if found and isinstance(stated, list | tuple) and tuple(stated) != found:
            raise ValueError(f'{key} is {tuple(stated)}, the backbone gives {found}: set {key}={found}, or choose the '
                             'stages of the backbone (out_indices)')


def _stated(node: Mapping, name: str, path: str) -> Iterator[tuple[str, object]]:
    """Yield the dotted names and values of an argument of a component and of the components in it."""
    if name in node:
        yield f'{path}.{name}', node[name]
    for key, child in node.items():
        if isinstance(child, Mapping) and key != 'backbone':
            yield from _stated(child, name, f'{path}.{key}')


@torch.no_grad()
def pyramid_channels(backbone: nn.Module, audio_channels: int) -> tuple[int, ...] | None:
    """Measure the channels of the maps of a backbone; None if it does not take the frame of the measurement."""
    device = next((parameter.device for parameter in backbone.parameters()), torch.device('cpu'))
    inputs = [torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE, device=device)]
    if getattr(backbone, 'uses_audio', False):
        inputs.append(torch.zeros(1, 1, audio_channels, device=device))
    training = backbone.training
    # Without drop path, random numbers and updates of running statistics
    backbone.eval()
    try:
        return tuple(x.shape[1] for x in backbone(*inputs))
    except (AssertionError, RuntimeError, ValueError):  # a size that the backbone does not take
        return None
    finally:
        backbone.train(training)

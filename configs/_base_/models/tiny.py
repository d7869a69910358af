# The two branches of all small models: for CPUs, at 96x96, trained from scratch. A method adds its head, with
# in_channels=_base_.pop('backbone_channels').
_base_ = '../backbones/tiny.py'

model = dict(
    type='AudioVisualSegmentor',
    backbone=_base_.pop('backbone'),
    audio_backbone=dict(
        type='VGGish',
        output='embedding',
        frozen=False,
        channels=(8, 16, 32, 32, 64, 64),
        hidden_dims=128,
        # Kaiming init: with PyTorch's default, activations vanish without pretrained weights.
        init_cfg=dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', distribution='normal')))

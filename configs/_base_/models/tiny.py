# The two branches of all small models: for CPUs, at 96x96, trained from scratch. The head comes on top.
model = dict(
    type='AudioVisualSegmentor',
    backbone=dict(
        type='mmseg.ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        norm_cfg=dict(type='BN')),
    audio_backbone=dict(
        type='VGGish',
        frozen=False,
        channels=(8, 16, 32, 32, 64, 64),
        hidden_dims=128,
        # Without pretrained weights: PyTorch's default would let the sound fade from layer to layer.
        init_cfg=dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', distribution='normal')))

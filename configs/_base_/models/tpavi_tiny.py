# TPAVI with every part of the published model, with few channels.
_base_ = './tiny.py'

model = dict(
    decode_head=dict(
        type='TPAVIHead',
        num_classes=9,
        in_channels=_base_.pop('backbone_channels'),
        embed_dims=32,
        audio_bias=False,
        mask_loss=dict(
            type='MaskLoss',
            foreground=dict(type='FrameBinaryCrossEntropyLoss'),
            classes=dict(type='FrameCrossEntropyLoss')),
        avm_loss=dict(type='AudioVisualMatchingLoss', reduction='mean')))

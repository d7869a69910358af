# TPAVI with every part of the published model, with few channels.
_base_ = './tiny.py'

model = dict(
    audio_backbone=dict(output='embedding'),
    decode_head=dict(
        type='TPAVIHead',
        num_classes=9,
        in_channels=(16, 32, 64, 128),
        embed_dims=32,
        audio_bias=False,
        avm_loss=dict(type='AudioVisualMatchingLoss', reduction='mean')))

# VCT with every part of the published model, with few channels and layers.
_base_ = './tiny.py'

num_classes = 9

model = dict(
    independent_frames=True,
    audio_backbone=dict(output='conv'),
    decode_head=dict(
        type='VCTHead',
        num_classes=num_classes,
        input_size=(96, 96),
        audio_channels=64,
        audio_hidden_dims=128,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder',
            in_channels=_base_.pop('backbone_channels'),
            embed_dims=64,
            num_layers=1,
            num_heads=4,
            ffn_dims=128),
        criterion=dict(type='SetCriterion', num_points=784),
        pac_loss=dict(type='PACLoss', channels=64),
        num_prototypes=num_classes,
        num_queries=16,
        num_heads=4,
        num_layers=5,
        ffn_dims=256))

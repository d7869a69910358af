# COMBO without its mask priors, which synthetic clips lack, and with few channels and layers.
_base_ = './tiny.py'

model = dict(
    decode_head=dict(
        type='COMBOHead',
        num_classes=9,
        audio_channels=128,
        audio_hidden_dims=128,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder',
            in_channels=_base_.pop('backbone_channels'),
            embed_dims=64,
            num_layers=1,
            num_heads=4,
            ffn_dims=128),
        criterion=dict(type='SetCriterion', num_points=784),
        consistency_loss=dict(type='TemporalConsistencyLoss', weight=10.),
        num_queries=16,
        num_heads=4,
        num_layers=5,
        ffn_dims=256))

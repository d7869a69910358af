# AVSegFormer with every part of the published model, with few channels and layers.
_base_ = './tiny.py'

model = dict(
    independent_frames=True,
    decode_head=dict(
        type='AVSegFormerHead',
        num_classes=9,
        in_channels=_base_.pop('backbone_channels'),
        embed_dims=64,
        num_queries=16,
        num_heads=4,
        num_encoder_layers=1,
        num_query_layers=2,
        num_decoder_layers=3,
        ffn_dims=256,
        query_ffn_dims=128,
        mask_dims=256,
        mask_loss=dict(
            type='MaskLoss', foreground=dict(type='FrameDiceLoss'), classes=dict(type='FrameCrossEntropyLoss')),
        mix_loss=dict(type='MixLoss', loss_weight=0.1)))

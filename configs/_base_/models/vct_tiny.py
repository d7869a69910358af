# VCT for CPUs, trained from scratch at 96x96: every part of the published model, with few channels and layers.
num_classes = 9

model = dict(
    type='AudioVisualSegmentor',
    independent_frames=True,
    backbone=dict(
        type='mmseg.ResNet',
        depth=18,
        stem_channels=16,
        base_channels=16,
        norm_cfg=dict(type='BN')),
    audio_backbone=dict(
        type='VGGish',
        output='conv',
        frozen=False,
        channels=(8, 16, 32, 32, 64, 64),
        # Without pretrained weights: PyTorch's default would let the sound fade from layer to layer.
        init_cfg=dict(type='Kaiming', layer='Conv2d', mode='fan_in', distribution='normal')),
    decode_head=dict(
        type='VCTHead',
        num_classes=num_classes,
        input_size=(96, 96),
        audio_channels=64,
        audio_hidden_dims=128,
        pixel_decoder=dict(
            type='MSDeformAttnPixelDecoder',
            in_channels=(16, 32, 64, 128),
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

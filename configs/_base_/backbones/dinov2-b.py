# DINOv2-B, a plain vision transformer, with a simple feature pyramid, for any method:
# _base_ = ['METHOD.py', '../_base_/backbones/dinov2-b.py'] and backbone=dict(_delete_=True, **_base_.backbone).
backbone = dict(
    type='SimpleFeaturePyramid',
    out_channels=256,
    backbone=dict(
        type='mmpretrain.VisionTransformer',
        arch='base',
        img_size=518,
        patch_size=14,
        layer_scale_init_value=1e-5,
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://mmassets.onedl.ai/mmpretrain/v1.0/dinov2/'
            'vit-base-p14_dinov2-pre_3rdparty_20230426-ba246503.pth')))
backbone_channels = (256, 256, 256, 256)

# paramwise_cfg of the optimizer, as in ViTDet: the new pyramid and the head have the base learning rate, the last layer
# of the transformer 0.7 of it, every layer before it 0.7 of the next one, the patch embedding 0.7 of the first. The
# decay replaces a lower rate for the whole backbone: lr_mult is 1 for every name with "backbone". That includes the
# backbone of a mask-prior branch, whose layers decay too, and an audio backbone that is trained (then set
# lr_mult={'audio_backbone': ...}).
layer_decay = dict(lr_mult={'backbone': 1.0}, layer_decay=0.7, decay_mult={'pos_embed': 0.0, 'cls_token': 0.0})

# COMBO with two PVTv2-B5 of the same initial weights.
_base_ = ['./combo.py', '../backbones/pvt-v2-b5.py']

backbone = dict(drop_path_rate=0.1, **_base_.pop('backbone'))
model = dict(
    backbone=backbone,
    mask_prior=dict(backbone=backbone, channels=_base_.backbone_channels),
    decode_head=dict(pixel_decoder=dict(in_channels=_base_.pop('backbone_channels'))))
del backbone

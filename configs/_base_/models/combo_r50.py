# COMBO with two ResNet-50 (frozen batch norms) of the same initial weights.
_base_ = ['./combo.py', '../backbones/r50_frozen-bn.py']

model = dict(
    backbone=_base_.backbone,
    mask_prior=dict(backbone=_base_.pop('backbone'), channels=_base_.backbone_channels),
    decode_head=dict(pixel_decoder=dict(in_channels=_base_.pop('backbone_channels'))))

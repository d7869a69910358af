# TPAVI with ResNet-50, whose batch norms are trained.
_base_ = ['./tpavi.py', '../backbones/r50.py']

model = dict(
    backbone=_base_.pop('backbone'), decode_head=dict(in_channels=_base_.pop('backbone_channels')))

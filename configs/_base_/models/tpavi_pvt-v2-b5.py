# TPAVI with PVTv2-B5.
_base_ = ['./tpavi.py', '../backbones/pvt-v2-b5.py']

model = dict(
    backbone=_base_.pop('backbone'), decode_head=dict(in_channels=_base_.pop('backbone_channels')))

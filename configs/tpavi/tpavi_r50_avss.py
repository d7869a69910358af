# TPAVI with ResNet-50 on AVSBench-semantic (AVSS) at 224x224; 1 GPU with 4 clips. Otherwise as with PVTv2-B5.
_base_ = ['./tpavi_pvt-v2-b5_avss.py', '../_base_/backbones/r50.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.pop('backbone')),
    decode_head=dict(in_channels=_base_.pop('backbone_channels')))

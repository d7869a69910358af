# TPAVI with the head of tpavi_tiny.py and EfficientNet-Lite0 at 224x224.
_base_ = ['./tpavi_tiny.py', '../backbones/efficientnet-lite0.py']

model = dict(
    data_preprocessor=_base_.pop('pixels'),
    backbone=dict(_delete_=True, **_base_.pop('backbone')),
    decode_head=dict(in_channels=_base_.pop('backbone_channels')))

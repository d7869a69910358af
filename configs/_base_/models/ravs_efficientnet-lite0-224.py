# RAVS with the head of ravs_tiny.py and EfficientNet-Lite0 at 224x224, with the groups of ravs_pvt-v2-b5.py.
_base_ = ['./ravs_tiny.py', '../backbones/efficientnet-lite0.py']

model = dict(
    data_preprocessor=_base_.pop('pixels'),
    backbone=dict(backbone=dict(_delete_=True, **_base_.pop('backbone')), num_groups=(49, 49, 25, 9)),
    decode_head=dict(in_channels=_base_.pop('backbone_channels')))

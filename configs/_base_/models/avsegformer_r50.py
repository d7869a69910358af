# AVSegFormer with ResNet-50, whose batch norms are trained, with the statistics of all frames of a batch.
_base_ = ['./avsegformer.py', '../backbones/r50.py']

model = dict(
    independent_frames=False,
    backbone=_base_.pop('backbone'),
    decode_head=dict(in_channels=_base_.pop('backbone_channels')))

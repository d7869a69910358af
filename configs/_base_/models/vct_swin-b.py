# VCT with Swin-B at 384x384.
_base_ = ['./vct.py', '../backbones/swin-b.py']

model = dict(
    backbone=_base_.pop('backbone'),
    decode_head=dict(pixel_decoder=dict(in_channels=_base_.pop('backbone_channels'))))

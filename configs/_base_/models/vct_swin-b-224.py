# VCT with Swin-B at 224x224.
_base_ = ['./vct.py', '../backbones/swin-b-224.py']

model = dict(
    backbone=_base_.pop('backbone'),
    decode_head=dict(input_size=(224, 224), pixel_decoder=dict(in_channels=_base_.pop('backbone_channels'))))

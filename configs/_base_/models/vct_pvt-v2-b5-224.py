# VCT with PVTv2-B5 at 224x224.
_base_ = ['./vct.py', '../backbones/pvt-v2-b5.py']

model = dict(
    backbone=dict(drop_path_rate=0.1, **_base_.pop('backbone')),
    decode_head=dict(input_size=(224, 224), pixel_decoder=dict(in_channels=_base_.pop('backbone_channels'))))

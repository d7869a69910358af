# VCT with PVTv2-b5 at 224x224; otherwise as vct_swin-b.py.
_base_ = './vct_swin-b.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='PVTv2',
        arch='b5',
        drop_path_rate=0.1,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/pvt_v2_b5.pth')),
    decode_head=dict(input_size=(224, 224), pixel_decoder=dict(in_channels=(64, 128, 320, 512))))

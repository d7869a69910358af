# TPAVI with ResNet-50, whose batch norms are trained; otherwise as tpavi_pvt-v2-b5.py.
_base_ = ['./tpavi_pvt-v2-b5.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.ResNet',
        depth=50,
        style='pytorch',
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    decode_head=dict(in_channels=(256, 512, 1024, 2048)))

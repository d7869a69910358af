# PVTv2-B5, pretrained on ImageNet-1k, for any method:
# _base_ = ['METHOD.py', '../_base_/backbones/pvt-v2-b5.py'] and backbone=dict(_delete_=True, **_base_.backbone).
backbone = dict(
    type='PVTv2',
    arch='b5',
    init_cfg=dict(type='Pretrained', checkpoint='pretrained/pvt_v2_b5.pth'))
backbone_channels = (64, 128, 320, 512)

# ResNet-50, pretrained on ImageNet-1k, whose batch norms are trained, for any method:
# _base_ = ['METHOD.py', '../_base_/backbones/r50.py'] and backbone=dict(_delete_=True, **_base_.backbone).
backbone = dict(
    type='mmseg.ResNet',
    depth=50,
    style='pytorch',
    out_indices=(0, 1, 2, 3),
    norm_cfg=dict(type='BN', requires_grad=True),
    norm_eval=False,
    init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))
backbone_channels = (256, 512, 1024, 2048)

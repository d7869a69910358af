# ConvNeXt-B, pretrained on ImageNet-22k, for any method:
# _base_ = ['METHOD.py', '../_base_/backbones/convnext-b.py'] and backbone=dict(_delete_=True, **_base_.backbone).
backbone = dict(
    type='mmpretrain.ConvNeXt',
    arch='base',
    out_indices=(0, 1, 2, 3),
    gap_before_final_norm=False,
    drop_path_rate=0.4,
    init_cfg=dict(
        type='Pretrained',
        prefix='backbone',
        checkpoint='https://mmassets.onedl.ai/mmclassification/v0/convnext/'
        'convnext-base_3rdparty_in21k_20220124-13b83eec.pth'))
backbone_channels = (128, 256, 512, 1024)

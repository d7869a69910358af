# VCT with ResNet-50 (frozen batch statistics); otherwise as vct_swin-b.py.
_base_ = ['./vct_swin-b.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.ResNet',
        depth=50,
        style='pytorch',
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    decode_head=dict(pixel_decoder=dict(in_channels=(256, 512, 1024, 2048))))

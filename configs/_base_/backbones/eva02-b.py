# EVA-02-B, pretrained by masked image modeling on ImageNet-22k; otherwise as dinov2-b.py. Its frames are normalized by
# other numbers: data_preprocessor=_base_.pixels.
_base_ = './dinov2-b.py'

backbone = dict(
    backbone=dict(
        _delete_=True,
        type='ViTEVA02',
        arch='base',
        img_size=224,
        patch_size=14,
        sub_ln=True,
        final_norm=False,
        norm_cfg=dict(type='LN', eps=1e-6),
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained',
            prefix='backbone',
            checkpoint='https://mmassets.onedl.ai/mmpretrain/v1.0/eva02/eva02-base-p14_pre_in21k_20230505-2f2d4d3c.pth'
        )))
pixels = dict(
    mean=[0.48145466 * 255, 0.4578275 * 255, 0.40821073 * 255],
    std=[0.26862954 * 255, 0.26130258 * 255, 0.27577711 * 255])

# Swin-B for frames of 384x384, pretrained on ImageNet-22k, for any method:
# _base_ = ['METHOD.py', '../_base_/backbones/swin-b.py'] and backbone=dict(_delete_=True, **_base_.backbone).
backbone = dict(
    type='SwinTransformer',
    # Made from the published swin_base_patch4_window12_384_22k.pth by tools/model_converters/convert.py --from swin
    init_cfg=dict(type='Pretrained', checkpoint='pretrained/swin_base_patch4_window12_384_22k_mmseg.pth'),
    pretrain_img_size=384,
    embed_dims=128,
    depths=(2, 2, 18, 2),
    num_heads=(4, 8, 16, 32),
    window_size=12,
    drop_path_rate=0.3,
    patch_norm=True)
backbone_channels = (128, 256, 512, 1024)

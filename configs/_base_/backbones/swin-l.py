# Swin-L for frames of 384x384; otherwise as swin-b.py, also in its use.
_base_ = './swin-b.py'

backbone = dict(
    # Made from the published swin_large_patch4_window12_384_22k.pth by tools/model_converters/convert.py --from swin
    init_cfg=dict(checkpoint='pretrained/swin_large_patch4_window12_384_22k_mmseg.pth'),
    embed_dims=192,
    num_heads=(6, 12, 24, 48))
backbone_channels = (192, 384, 768, 1536)

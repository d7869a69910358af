# Swin-B for frames of 224x224, whose window is 7; otherwise as swin-b.py.
_base_ = './swin-b.py'

backbone = dict(
    # Made from the published swin_base_patch4_window7_224_22k.pth by tools/model_converters/convert.py --from swin
    init_cfg=dict(checkpoint='pretrained/swin_base_patch4_window7_224_22k_mmseg.pth'),
    pretrain_img_size=224,
    window_size=7)

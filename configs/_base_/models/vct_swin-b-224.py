# VCT with Swin-B at 224x224, whose window is 7; otherwise as vct_swin-b.py.
_base_ = './vct_swin-b.py'

model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint='pretrained/swin_base_patch4_window7_224_22k_mmseg.pth'),
        pretrain_img_size=224,
        window_size=7),
    decode_head=dict(input_size=(224, 224)))

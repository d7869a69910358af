# VCT with Swin-L on AVSBench-semantic (AVSS) at 384x384, without mask priors; 8 GPUs with 1 clip each.
_base_ = ['./vct_swin-b_avss.py', '../_base_/backbones/swin-l.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.backbone),
    decode_head=dict(pixel_decoder=dict(in_channels=_base_.backbone_channels)))

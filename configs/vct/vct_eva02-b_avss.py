# VCT with EVA-02-B (plain ViT) on AVSBench-semantic (AVSS) at 384x384, without mask priors; 8 GPUs with 1 clip each.
_base_ = ['./vct_swin-b_avss.py', '../_base_/backbones/eva02-b.py']

model = dict(
    data_preprocessor=_base_.pixels,
    backbone=dict(_delete_=True, **_base_.backbone),
    decode_head=dict(pixel_decoder=dict(in_channels=_base_.backbone_channels)))
optim_wrapper = dict(paramwise_cfg=_base_.layer_decay)

# VCT with BEATs in place of VGGish; 8 GPUs with 1 clip each.
_base_ = ['./vct_swin-b_avss.py', '../_base_/audio_backbones/beats.py']

model = dict(
    audio_backbone=dict(_delete_=True, **_base_.audio_backbone),
    decode_head=dict(audio_channels=_base_.audio_channels, audio_grid=_base_.audio_grid))

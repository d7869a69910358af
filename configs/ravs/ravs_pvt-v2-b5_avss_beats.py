# RAVS with BEATs in place of VGGish: 48 tokens of a frame.
_base_ = ['./ravs_pvt-v2-b5_avss.py', '../_base_/audio_backbones/beats.py']

model = dict(
    backbone=dict(audio_channels=_base_.audio_channels),
    audio_backbone=dict(_delete_=True, **_base_.audio_backbone),
    decode_head=dict(audio_channels=_base_.audio_channels))

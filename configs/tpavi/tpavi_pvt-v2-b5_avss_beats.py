# TPAVI with BEATs in place of VGGish: the mean of 48 tokens of a frame.
_base_ = ['./tpavi_pvt-v2-b5_avss.py', '../_base_/audio_backbones/beats.py']

model = dict(
    audio_backbone=dict(_delete_=True, **_base_.audio_backbone),
    decode_head=dict(audio_channels=_base_.audio_channels))

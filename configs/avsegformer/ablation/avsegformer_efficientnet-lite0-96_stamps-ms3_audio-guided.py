# RAVS's audio-guided encoder under AVSegFormer's decoder.
_base_ = [
    '../avsegformer_efficientnet-lite0-96_stamps-ms3.py', '../../_base_/backbones/audio-guided_tiny.py'
]

model = dict(
    backbone=dict(_delete_=True, **_base_.pop('audio_guided'), backbone=_base_.model.backbone))

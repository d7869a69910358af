# RAVS's audio-guided encoder under VCT's decoder.
_base_ = ['../vct_efficientnet-lite0-128_stamps-following.py', '../../_base_/backbones/audio-guided_tiny.py']

guided = dict(_base_.pop('audio_guided'), audio_channels=64)  # those of VGGish's map

model = dict(backbone=dict(_delete_=True, **guided, backbone=_base_.model.backbone))

# VGGish is trained from scratch, with the rest.
_base_ = '../vct_efficientnet-lite0-128_stamps-following.py'

model = dict(
    audio_backbone=dict(
        frozen=False,
        init_cfg=dict(
            _delete_=True, type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', distribution='normal')))

# With negative audio; the audio backbone is trained from scratch with the rest.
_base_ = '../ravs_efficientnet-lite0-96_stamps-ms3_negative-audio.py'

model = dict(
    audio_backbone=dict(
        frozen=False,
        init_cfg=dict(_delete_=True, type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', distribution='normal')))

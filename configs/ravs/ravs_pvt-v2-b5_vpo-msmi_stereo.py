# RAVS with PVTv2-B5 on VPO-MSMI in stereo: the direction of the audio tells objects of one class apart.
_base_ = './ravs_pvt-v2-b5_vpo-msmi.py'

model = dict(
    backbone=dict(audio_channels=256),  # of the left and of the right channel
    audio_backbone=dict(stereo=True),
    decode_head=dict(audio_channels=256))
train_dataloader = dict(dataset=dict(audio_mode='stereo'))
val_dataloader = dict(dataset=dict(audio_mode='stereo'))
test_dataloader = dict(dataset=dict(audio_mode='stereo'))

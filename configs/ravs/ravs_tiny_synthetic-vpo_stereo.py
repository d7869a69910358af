# The small RAVS on VPO-style clips in stereo: the direction of the audio tells two objects of one class apart.
_base_ = './ravs_tiny_synthetic-vpo.py'

data_root = 'data/synthetic/vpo-msmi'
model = dict(
    backbone=dict(audio_channels=256),  # of the left and of the right channel
    audio_backbone=dict(stereo=True),
    decode_head=dict(audio_channels=256))
train_dataloader = dict(dataset=dict(data_root=data_root, subset='vpo-msmi', audio_mode='stereo'))
val_dataloader = dict(dataset=dict(data_root=data_root, subset='vpo-msmi', audio_mode='stereo'))
test_dataloader = dict(dataset=dict(data_root=data_root, subset='vpo-msmi', audio_mode='stereo'))

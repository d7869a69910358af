# With negative audio, and a presence score that removes the masks of frames in which nothing visible sounds.
_base_ = '../ravs_efficientnet-lite0-96_stamps-ms3_negative-audio.py'

model = dict(presence=dict(
    type='AudioPresence', in_channels=_base_.model.decode_head.in_channels, audio_channels=128))

# A probability for each frame that a visible object sounds, below which its mask is removed.
_base_ = '../vct_efficientnet-lite0-128_stamps-following.py'

model = dict(
    presence=dict(
        type='AudioPresence', in_channels=_base_.model.decode_head.pixel_decoder.in_channels, audio_channels=64))

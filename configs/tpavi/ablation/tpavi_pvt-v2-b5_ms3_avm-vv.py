# Matching with the foreground of the frame whose audio is nearest (AVM-VV) instead of with the audio.
_base_ = '../tpavi_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(avm_loss=dict(nearest_audio=True)))

# Matching with the foreground of the frame whose sound is nearest (AVM-VV) instead of with the sound.
_base_ = '../tpavi_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(avm_loss=dict(nearest_audio=True)))

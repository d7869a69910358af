# The mask feature does not hear: no mixer.
_base_ = '../avsegformer_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(mixer=None))

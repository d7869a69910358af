# No mixer: the mask feature does not depend on the audio.
_base_ = '../avsegformer-v1_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(mixer=None))

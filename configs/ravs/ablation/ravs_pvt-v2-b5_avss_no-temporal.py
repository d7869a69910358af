# Without attention between frames.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(decode_head=dict(temporal=False))

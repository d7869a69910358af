# Cross-attention mixer (the paper's CRA) instead of channel attention.
_base_ = '../avsegformer-v1_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(mixer='cross'))

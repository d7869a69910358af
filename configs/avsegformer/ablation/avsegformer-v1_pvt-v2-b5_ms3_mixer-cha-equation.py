# Channel-attention mixer by the paper's equation: no projections, no sigmoid, with a residual.
_base_ = '../avsegformer-v1_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(mixer='channel-equation'))

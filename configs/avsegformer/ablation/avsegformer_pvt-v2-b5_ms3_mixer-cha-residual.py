# Channel-attention mixer by the paper's formula, with a residual.
_base_ = '../avsegformer_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(mixer='channel-residual'))

# Each intermediate mask with a weight of 1 instead of 0.1.
_base_ = '../avsegformer-v1_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(intermediate_weight=1.))

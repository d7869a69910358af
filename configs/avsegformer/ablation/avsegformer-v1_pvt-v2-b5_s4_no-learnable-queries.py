# The repeated audio token as queries, without learned ones.
_base_ = '../avsegformer-v1_pvt-v2-b5_s4.py'

model = dict(decode_head=dict(learnable_queries=False))

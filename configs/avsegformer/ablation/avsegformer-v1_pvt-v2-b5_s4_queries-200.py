# 200 queries instead of 300.
_base_ = '../avsegformer-v1_pvt-v2-b5_s4.py'

model = dict(decode_head=dict(num_queries=200))

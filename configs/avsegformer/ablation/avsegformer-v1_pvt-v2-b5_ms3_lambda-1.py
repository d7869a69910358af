# Each intermediate mask with a weight of 1 instead of 0.1. The value is ours; the paper prints results of 0.1 only.
_base_ = '../avsegformer-v1_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(intermediate_loss=dict(loss_weight=1.)))

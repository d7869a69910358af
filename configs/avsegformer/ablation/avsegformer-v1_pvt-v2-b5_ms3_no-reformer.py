# No training on intermediate masks.
_base_ = '../avsegformer-v1_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(intermediate_masks=None, intermediate_loss=None))

# No mix loss.
_base_ = '../avsegformer_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(mix_weight=0.))

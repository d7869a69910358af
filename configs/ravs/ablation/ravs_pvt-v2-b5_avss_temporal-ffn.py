# A feed-forward network after the attention between frames.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(decode_head=dict(temporal_ffn_dims=1024))

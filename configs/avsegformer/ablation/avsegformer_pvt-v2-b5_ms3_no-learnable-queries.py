# Queries from the audio alone, without learned ones.
_base_ = '../avsegformer_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(learnable_queries=False))

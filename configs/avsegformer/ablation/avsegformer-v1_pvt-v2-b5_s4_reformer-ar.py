# Intermediate masks of the attention alone (AR), not mixed with the queries.
_base_ = '../avsegformer-v1_pvt-v2-b5_s4.py'

model = dict(decode_head=dict(intermediate_masks='attention'))

# EASE with PVTv2-B5 for frames of 384x384; otherwise as ease_pvt-v2-b5.py.
_base_ = './ease_pvt-v2-b5.py'

model = dict(decode_head=dict(num_queries=49))  # with 24 * 24 patches, 25 * 25

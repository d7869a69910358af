# TPAVI at stage 4 (the paper counts from 1) instead of all four.
_base_ = '../tpavi_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(stages=(3, )))

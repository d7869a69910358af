# Soft in place of hard grouping.
_base_ = '../vct_swin-b_avss.py'

model = dict(decode_head=dict(grouping='soft'))

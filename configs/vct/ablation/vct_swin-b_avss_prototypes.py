# Visual embeddings prompted by prototypes, without grouping.
_base_ = '../vct_swin-b_avss.py'

model = dict(decode_head=dict(grouping=None))

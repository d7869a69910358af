# Visual embeddings as queries, without prototypes and grouping.
_base_ = '../vct_swin-b_avss.py'

model = dict(decode_head=dict(grouping=None, num_prototypes=None, pac_loss=None))

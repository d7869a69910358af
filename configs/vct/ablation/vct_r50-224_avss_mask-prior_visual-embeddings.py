# Visual embeddings as queries, without pixel context and prototypes.
_base_ = '../vct_r50-224_avss_mask-prior.py'

model = dict(decode_head=dict(grouping=None, num_prototypes=None, pac_loss=None))

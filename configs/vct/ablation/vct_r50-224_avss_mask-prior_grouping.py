# Visual embeddings with hard grouping of the pixels, without prototypes, as on MS3.
_base_ = '../vct_r50-224_avss_mask-prior.py'

model = dict(decode_head=dict(num_prototypes=None, pac_loss=None))

# Hard grouping of visual embeddings without prompts of prototypes, as on MS3.
_base_ = '../vct_swin-b_avss.py'

model = dict(decode_head=dict(num_prototypes=None, pac_loss=None))

# Visual embeddings that attend to the pixels by ordinary cross-attention, without prototypes.
_base_ = '../vct_swin-b_avss.py'

model = dict(decode_head=dict(grouping='cross-attention', num_prototypes=None, pac_loss=None))

# Baseline + grouping: the audio attends to the pixels of each group.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(backbone=dict(merging=False), decode_head=dict(contrast_loss=None, uncertainty_loss=None))

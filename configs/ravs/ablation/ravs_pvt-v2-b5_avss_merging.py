# Baseline + grouping + merging of the groups into compact tokens.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(decode_head=dict(contrast_loss=None, uncertainty_loss=None))

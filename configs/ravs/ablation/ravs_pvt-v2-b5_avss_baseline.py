# The baseline: after every stage the audio attends to all pixels of the frame and they to it; no groups, no compact
# tokens, no contrast, no uncertainty.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(
    backbone=dict(num_groups=None, merging=False),
    decode_head=dict(contrast_loss=None, uncertainty_loss=None))

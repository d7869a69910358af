# Contrast with pixels chosen by ground-truth masks, the variant that the paper compares with.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(decode_head=dict(contrast_loss=dict(by_masks=True)))

# Audio concatenated to the visual pyramid before the pixel decoder.
_base_ = '../vct_r50-224_avss_mask-prior.py'

model = dict(decode_head=dict(early_fusion='concatenate'))

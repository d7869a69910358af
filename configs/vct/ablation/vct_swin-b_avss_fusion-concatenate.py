# Audio concatenated to the visual pyramid before the pixel decoder.
_base_ = '../vct_swin-b_avss.py'

model = dict(decode_head=dict(early_fusion='concatenate'))

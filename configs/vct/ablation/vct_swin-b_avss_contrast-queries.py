# Prototypes contrasted with the queries of a frame in place of its audio.
_base_ = '../vct_swin-b_avss.py'

model = dict(decode_head=dict(contrast='queries'))

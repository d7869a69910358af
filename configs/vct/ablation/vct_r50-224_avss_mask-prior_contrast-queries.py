# Prototypes contrasted with the queries of a frame in place of its audio.
_base_ = '../vct_r50-224_avss_mask-prior.py'

model = dict(decode_head=dict(contrast='queries'))

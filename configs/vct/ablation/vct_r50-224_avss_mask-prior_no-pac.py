# Prototypes that only the masks train, without the PAC loss.
_base_ = '../vct_r50-224_avss_mask-prior.py'

model = dict(decode_head=dict(pac_loss=None))

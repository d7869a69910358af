# No mix loss. The weights 0, 0.01 and 1 are ours; the paper prints results of 0.1 only.
_base_ = '../avsegformer_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(mix_loss=None))

# Binary cross-entropy alone, without audio-visual matching.
_base_ = '../tpavi_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(avm_loss=None))

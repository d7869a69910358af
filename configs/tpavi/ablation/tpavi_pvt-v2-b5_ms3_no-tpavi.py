# Without audio: no stage has a TPAVI block, and there is no matching loss.
_base_ = '../tpavi_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(stages=(), avm_loss=None))

# TPAVI on MS3: 30 epochs.
_base_ = './tpavi.py'

train_cfg = dict(max_epochs=30)

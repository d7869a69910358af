# TPAVI on AVSS: 60 epochs, the first ones without validation.
_base_ = './tpavi.py'

train_cfg = dict(max_epochs=60, val_begin=15, val_interval=2)

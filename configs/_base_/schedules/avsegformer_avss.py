# AVSegFormer on AVSS, without validation in the first epochs, whose scores are low.
_base_ = './avsegformer.py'

train_cfg = dict(val_begin=11, val_interval=2)

# Loops and hooks of training by iterations; otherwise as epochs.py.
_base_ = './epochs.py'

train_cfg = dict(type='IterBasedTrainLoop')
default_hooks = dict(logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False))

# VCT on AVSS: mixed precision, evaluated every 2500 iterations; otherwise as vct_s4.py.
_base_ = './vct_s4.py'

optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
train_cfg = dict(val_interval=2500)
default_hooks = dict(checkpoint=dict(interval=2500))

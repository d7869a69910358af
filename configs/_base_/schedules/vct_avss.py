# VCT on AVSS: as on S4, but in mixed precision and evaluated every 2500 iterations.
_base_ = './vct_s4.py'

optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
train_cfg = dict(val_interval=2500)
default_hooks = dict(checkpoint=dict(interval=2500))

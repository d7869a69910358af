# VCT on MS3: 40k iterations, evaluated every 500; otherwise as vct_s4.py.
_base_ = './vct_s4.py'

max_iters = 40000

_base_.param_scheduler[0].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=500)
default_hooks = dict(checkpoint=dict(interval=500))

# COMBO on MS3: 20k iterations, evaluated every 400; otherwise as combo_s4.py.
_base_ = './combo_s4.py'

max_iters = 20000

_base_.param_scheduler[0].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=400)
default_hooks = dict(checkpoint=dict(interval=400))

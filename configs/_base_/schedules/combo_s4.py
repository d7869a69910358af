# COMBO on S4: 90k iterations, evaluated on the validation split every 5000; the optimizer is that of VCT, which has it
# from COMBO.
_base_ = './vct_s4.py'

max_iters = 90000

_base_.param_scheduler[0].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=5000)
default_hooks = dict(checkpoint=dict(interval=5000))

# The model of vct_tiny_synthetic.py, trained for up to 45 minutes on two cores.
_base_ = './vct_tiny_synthetic.py'

max_iters = 8000

_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=2000)
default_hooks = dict(checkpoint=dict(interval=2000))

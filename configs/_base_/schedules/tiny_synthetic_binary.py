# Longer than tiny_synthetic.py: binary masks, which do not name the category of the sounding object, train more slowly.
_base_ = './tiny_synthetic.py'

max_iters = 1500

_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=max_iters))

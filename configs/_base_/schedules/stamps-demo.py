# The demo with photographs: half of the short budget. From its checkpoints, a demo that was interrupted goes on.
_base_ = './stamps_short.py'

max_iters = 2000

_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=200))

# The budget of the comparison of methods in docs/reference/results.md: 600 steps of two whole clips.
_base_ = './stamps_following.py'

max_iters = 600

_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)

# The budget of the ablation in docs/reference/audio_following.md: 1000 steps of ten frames.
_base_ = './stamps_short.py'

max_iters = 1000

_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)

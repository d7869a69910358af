# The budget of docs/reference/audio_following.md: 1000 steps of ten frames. The image backbone learns at 0.3 of the
# base rate. An interrupted training goes on from the checkpoint of each 250 steps.
_base_ = './stamps_short.py'

max_iters = 1000

optim_wrapper = dict(paramwise_cfg=dict(lr_mult={'timm_model': 0.3}))
_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)

# The budget of the demo with photographs: 2000 steps of ten frames. The image backbone learns at 0.3 of the base rate.
# The last checkpoint is used. An interrupted training continues from the last one, saved every 250 steps.
_base_ = './stamps.py'

max_iters = 2000

optim_wrapper = dict(paramwise_cfg=dict(lr_mult={'timm_model': 0.3}))
_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    checkpoint=dict(_delete_=True, type='AtomicCheckpointHook', by_epoch=False, interval=250, max_keep_ckpts=1))

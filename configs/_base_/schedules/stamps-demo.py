# The demo with photographs: as stamps.py, but short, and with a checkpoint now and then, from which a demo that was
# interrupted goes on.
_base_ = './stamps.py'

max_iters = 2000

_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    checkpoint=dict(_delete_=True, type='AtomicCheckpointHook', by_epoch=False, interval=200, max_keep_ckpts=1))

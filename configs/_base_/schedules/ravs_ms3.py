# RAVS on MS3: as on S4, with 296 clips.
_base_ = './ravs_s4.py'

iters_per_epoch = 37
max_iters = 150 * iters_per_epoch

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=2 * iters_per_epoch, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min=4e-5,
        begin=2 * iters_per_epoch,
        end=max_iters + 1,
        by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=2 * iters_per_epoch)
default_hooks = dict(checkpoint=dict(interval=2 * iters_per_epoch))

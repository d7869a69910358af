# RAVS on S4. All inferred: the recipe of DDESeg (CVPR 2025), as that of the paper was not at hand. 150 epochs of 3452
# clips in batches of 8, 2 of them warm-up; evaluated on the validation split every 2 epochs.
iters_per_epoch = 432
max_iters = 150 * iters_per_epoch

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    constructor='IndependentRulesConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=2 * iters_per_epoch, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min=4e-5,
        begin=2 * iters_per_epoch,
        end=max_iters + 1,
        by_epoch=False),
]

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=2 * iters_per_epoch)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook',
        by_epoch=False,
        interval=2 * iters_per_epoch,
        max_keep_ckpts=2,
        save_best='avsbench/M_J',
        rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'))

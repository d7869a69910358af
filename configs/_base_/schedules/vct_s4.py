# VCT on S4: 45k iterations, evaluated on the validation split every 1000.
max_iters = 45000

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    constructor='IndependentRulesConstructor',
    paramwise_cfg=dict(
        lr_mult={'backbone': 0.1},
        norm_decay_mult=0.0,
        embedding_decay_mult=0.0,
        decay_mult={'relative_position_bias_table': 0.0}))
# Iteration i has the learning rate lr * (1 - i / max_iters) ** 0.9; MMEngine divides by end - begin - 1.
param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=max_iters + 1, by_epoch=False)]

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1000)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='AtomicCheckpointHook',
        by_epoch=False,
        interval=1000,
        max_keep_ckpts=2,
        save_best='avsbench/M_J',
        rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'))

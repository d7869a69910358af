default_scope = 'mmavs'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
# A fixed seed: a resumed run takes the same steps as one without interruption.
randomness = dict(seed=8434882)

# Interval and best metric are set by the schedule and the data set.
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='AtomicCheckpointHook', by_epoch=False, interval=1000, max_keep_ckpts=2),
    sampler_seed=dict(type='DistSamplerSeedHook'))
custom_hooks = [
    dict(type='IterationSeedHook'),
    dict(type='MeanLossHook'),
    dict(type='StrictLoadHook'),
]

log_level = 'INFO'
log_processor = dict(by_epoch=False)
load_from = None
resume = False

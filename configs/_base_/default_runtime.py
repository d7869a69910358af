default_scope = 'mmavs'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))
# A fixed seed: a resumed run takes the same steps as one without interruption.
randomness = dict(seed=8434882)

custom_hooks = [
    dict(type='IterationSeedHook'),
    dict(type='MeanLossHook'),
    dict(type='StrictLoadHook'),
    dict(type='CheckDataHook'),
    dict(type='FiniteTrainingHook'),
]

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='AVSVisualizer', vis_backends=vis_backends)

log_level = 'INFO'
log_processor = dict(by_epoch=False)
load_from = None
resume = False

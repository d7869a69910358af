# All small models on synthetic clips. Nothing is pretrained: all parameters have the same learning rate, ten times that
# of VCT's published recipe, after a short warm-up. A few minutes on a CPU.
_base_ = './iterations.py'

max_iters = 1100

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    constructor='ParamRulesOptimWrapperConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, embedding_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=0.9, begin=20, end=max_iters + 1, by_epoch=False),
]

auto_scale_lr = dict(enable=False, base_batch_size=2)
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    logger=dict(interval=100),
    # The last checkpoint only, no best one
    checkpoint=dict(
        _delete_=True, type='AtomicCheckpointHook', by_epoch=False, interval=max_iters, max_keep_ckpts=1))

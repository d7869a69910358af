# A small VCT on drawn clips, trained from scratch on a CPU in a few minutes (make demo).
_base_ = [
    '../_base_/models/vct_tiny.py', '../_base_/datasets/synthetic_96.py',
    '../_base_/schedules/vct_avss.py', '../_base_/default_runtime.py'
]

max_iters = 1100

# Nothing is pretrained: one learning rate for all, ten times that of the published recipe, after a short warm-up.
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
    constructor='IndependentRulesConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, embedding_decay_mult=0.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, begin=0, end=20, by_epoch=False),
    dict(type='PolyLR', eta_min=0, power=0.9, begin=20, end=max_iters + 1, by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    logger=dict(interval=100),
    checkpoint=dict(interval=max_iters, max_keep_ckpts=1, save_best=None))

# VCT on S4: 45k iterations, evaluated on the validation split every 1000.
_base_ = './iterations.py'

max_iters = 45000

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    constructor='ParamRulesOptimWrapperConstructor',
    paramwise_cfg=dict(
        lr_mult={'backbone': 0.1},
        norm_decay_mult=0.0,
        embedding_decay_mult=0.0,
        decay_mult={'relative_position_bias_table': 0.0}))
# Iteration i has the learning rate lr * (1 - i / max_iters) ** 0.9; MMEngine divides by end - begin - 1.
param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=max_iters + 1, by_epoch=False)]

# The batch of the learning rate, for train.py --auto-scale-lr.
auto_scale_lr = dict(enable=False, base_batch_size=8)

train_cfg = dict(max_iters=max_iters, val_interval=1000)
default_hooks = dict(checkpoint=dict(interval=1000))

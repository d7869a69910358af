# The optimizer of RAVS, by epochs or iterations. Inferred: that of DDESeg (CVPR 2025), without weight decay for norm
# layers and biases.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.05),
    constructor='ParamRulesOptimWrapperConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, decay_mult=dict(bias=0.0)))
auto_scale_lr = dict(enable=False, base_batch_size=8)

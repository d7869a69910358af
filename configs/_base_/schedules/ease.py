# EASE: AdamW with weight decay on every parameter, mixed precision, a warm-up of the new modules and a later one of the
# backbone, evaluated after every epoch. Batches are those of one GPU. With more, the released code multiplies the
# learning rates that decay from layer to layer by the square root of their number, and no others; this one does not.
_base_ = ['./iterations.py', '../default_runtime.py']

# Clips, of AVSS labelled frames: 3452 clips of S4 with one, 296 of MS3 with 5 and 4750 others with 10.
samples = dict(s4=3452, ms3=296, avss=3452 + 5 * 296 + 10 * 4750)


def schedule(subset, batch_size, epochs, lr, warmups, layer_decay=None):
    iters_per_epoch = samples[subset] // batch_size
    max_iters = epochs * iters_per_epoch
    paramwise_cfg = dict(named_groups=['backbone.'])
    if layer_decay is not None:
        paramwise_cfg['layer_decay'] = layer_decay
    return dict(
        max_iters=max_iters,
        optim_wrapper=dict(optimizer=dict(lr=lr), paramwise_cfg=paramwise_cfg),
        param_scheduler=[
            dict(
                type='TwoStageWarmupPolyLR', warmup=warmups[0], delayed_warmup=warmups[1], power=0.9, begin=0,
                end=max_iters + 1, by_epoch=False)
        ],
        train_dataloader=dict(batch_size=batch_size),
        auto_scale_lr=dict(enable=False, base_batch_size=batch_size),
        train_cfg=dict(max_iters=max_iters, val_interval=iters_per_epoch),
        default_hooks=dict(checkpoint=dict(interval=iters_per_epoch)))


# Of the published rows. The batches and warm-ups that are marked as inferred are not known.
schedules = {
    'dinov3-b_s4': schedule('s4', 12, 36, 2e-4, (300, 600), 0.8),
    'dinov3-b_ms3': schedule('ms3', 12, 72, 1e-4, (50, 100), 0.8),
    'dinov3-b_avss': schedule('avss', 60, 22, 2e-4, (300, 600), 0.8),
    'dinov3-b-384_s4': schedule('s4', 8, 36, 2e-4, (300, 600), 0.8),  # batch inferred
    'dinov3-b-384_ms3': schedule('ms3', 8, 72, 1e-4, (50, 100), 0.8),
    'dinov3-b-384_avss': schedule('avss', 40, 22, 2e-4, (300, 600), 0.8),
    'dinov3-l_s4': schedule('s4', 8, 36, 2e-4, (300, 600), 0.8),  # batch inferred
    'dinov3-l_ms3': schedule('ms3', 8, 72, 1e-4, (50, 100), 0.8),  # batch inferred
    'dinov3-l_avss': schedule('avss', 30, 22, 2e-4, (300, 600), 0.8),
    'dinov3-l-384_s4': schedule('s4', 4, 36, 2e-4, (300, 600), 0.8),
    'dinov3-l-384_ms3': schedule('ms3', 4, 72, 1e-4, (50, 100), 0.8),
    'dinov3-l-384_avss': schedule('avss', 20, 22, 2e-4, (300, 600), 0.8),
    'pvt-v2-b5_s4': schedule('s4', 12, 36, 2e-4, (300, 600)),
    'pvt-v2-b5_ms3': schedule('ms3', 12, 72, 1e-4, (100, 150)),  # inferred
    'pvt-v2-b5_avss': schedule('avss', 60, 36, 2e-4, (300, 600)),
    'pvt-v2-b5-384_s4': schedule('s4', 5, 36, 2e-4, (300, 600)),
    'pvt-v2-b5-384_ms3': schedule('ms3', 5, 72, 1e-4, (100, 150)),
    'pvt-v2-b5-384_avss': schedule('avss', 25, 36, 2e-4, (300, 600)),
}

optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    optimizer=dict(type='AdamW', weight_decay=0.05),
    clip_grad=dict(max_norm=0.01, norm_type=2),
    constructor='ParamRulesOptimWrapperConstructor')
randomness = dict(seed=0)
custom_hooks = [*_base_.custom_hooks, dict(type='TrainingProgressHook')]

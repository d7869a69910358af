# RAVS on VPO: the schedule of ravs.py by epochs. Evaluated on the test split every 2 epochs, as published: VPO has no
# validation split.
_base_ = ['./epochs.py', './ravs_optimizer.py']

param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, begin=0, end=2, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=4e-5, begin=2, end=150, by_epoch=True, convert_to_iter_based=True),
]

auto_scale_lr = dict(base_batch_size=64)
train_cfg = dict(max_epochs=150, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2, save_best='dataset/J&F'))

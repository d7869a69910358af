# The tiny VCT with the options of docs/user_guides/training.md, "Options of a training".
_base_ = 'vct_tiny_s4.py'

model = dict(decode_head=dict(criterion=dict(class_weights=(0.5, 2.0))))
optim_wrapper = dict(accumulative_counts=2)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type='EMAHook', momentum=0.5),
    # Never satisfied: stops after the second validation.
    dict(type='EarlyStoppingHook', monitor='avsbench/M_J', min_delta=1.0, patience=1),
]
visualizer = dict(vis_backends=[dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')])
train_cfg = dict(val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1, save_best='auto'))

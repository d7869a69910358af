# The small VCT on clips composed of photos and recordings (synthesize_clips.py --pairs); the CSV files are described in
# docs/user_guides/synthesis.md. The classes are those of a private set: replace them and num_classes by your own.
_base_ = ['./vct_tiny_synthetic.py', '../_base_/pipelines/augmented_128.py']

# A few hundred photos are too few to train the backbone from scratch: start from the weights of make demo, which were
# trained for other classes.
load_from = 'work_dirs/demo/iter_1100.pth'
custom_hooks = [
    dict(type='IterationSeedHook'),
    dict(type='MeanLossHook'),
    dict(type='StrictLoadHook', allow_other_settings=True),
    dict(type='CheckDataHook'),
    dict(type='FiniteTrainingHook'),
]

max_iters = 4000
data_root = 'data/composed/AVSS'
classes = ('background', 'person', 'dog', 'cat', 'bird', 'cow', 'sheep', 'clock', 'keyboard')

# The augmentation at 128x128 with sizes scaled to the input: sides of 0.75 to 1.75 times 96.
train_pipeline = _base_.pop('augmented_pipeline')
train_pipeline[0].transforms[3].transforms[0].scale = (144, 144)
train_pipeline[1].transforms[0].scales = [(side, side) for side in range(72, 169, 12)]
train_pipeline[1].transforms[1].crop_size = (96, 96)
train_pipeline[1].transforms[4].size = (96, 96)  # Pad

_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=1000)
default_hooks = dict(checkpoint=dict(interval=1000, max_keep_ckpts=2, save_best='avsbench/M_J', rule='greater'))
train_dataloader = dict(
    dataset=dict(data_root=data_root, metainfo=dict(classes=classes), pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(data_root=data_root, metainfo=dict(classes=classes)))
test_dataloader = dict(
    dataset=dict(type='AVSSDataset', data_root=data_root, metainfo=dict(classes=classes)))
test_evaluator = [dict(type='AVSSMetric', prefix='avss'), dict(type='AVSBenchMetric', prefix='binary')]

# Drawn clips in the layout of AVSBench MS3 (tools/dataset_converters/synthesize_clips.py), frames at 96x96, masks scored
# at 224x224. A small data set: clips are read and resized once and kept in memory.
data_root = 'data/synthetic/Multi-sources'

train_pipeline = [
    dict(
        type='CachedTransforms',
        transforms=[
            dict(type='LoadClipFrames'),
            dict(type='LoadClipMasks'),
            dict(type='LoadAudio', source='waveform'),
            dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(96, 96), backend='pillow')]),
        ]),
    dict(type='ClipBroadcaster', share_random_params=True, transforms=[dict(type='RandomFlip', prob=0.5)]),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform'),
    dict(
        type='ClipBroadcaster',
        keys=('frames', ),
        transforms=[dict(type='Resize', scale=(96, 96), backend='pillow')]),
    dict(
        type='ClipBroadcaster',
        keys=('masks', ),
        transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(type='AVSBenchMS3Dataset', data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='AVSBenchMS3Dataset', data_root=data_root, split='val', pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='AVSBenchMS3Dataset', data_root=data_root, split='test', pipeline=test_pipeline))

val_evaluator = dict(type='AVSBenchMetric')
test_evaluator = val_evaluator

# Drawn clips of tools/dataset_converters/synthesize_clips.py at 96x96: training on the AVSS-style set, whose masks name
# what sounds; tests on the MS3-style set, masks scored at 224x224. A small data set: training clips are read and
# resized once and kept in memory.
data_root = 'data/synthetic'
classes = ('background', 'bell', 'drum', 'cymbal', 'bird', 'gear', 'horn', 'clock', 'hive')

train_pipeline = [
    dict(
        type='CachedTransforms',
        transforms=[
            dict(type='LoadClipFrames'),
            dict(type='LoadClipMasks'),
            dict(type='LoadAudio', source='waveform'),
            dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(96, 96), backend='pillow')]),
            dict(type='GenerateEventLabels', num_events=len(classes), source='masks'),
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
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type='AVSSDataset',
        data_root=f'{data_root}/AVSS',
        split='train',
        metainfo=dict(classes=classes),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='AVSSDataset',
        data_root=f'{data_root}/AVSS',
        split='val',
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='AVSBenchMS3Dataset', data_root=f'{data_root}/Multi-sources', split='test', pipeline=test_pipeline))

val_evaluator = dict(type='AVSSMetric')
test_evaluator = dict(type='AVSBenchMetric')

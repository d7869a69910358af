# Drawn clips in the manner of VPO-MS at 96x96: one frame and 3 s of sound, scored by the dataset protocol. A small data
# set: training clips are read and resized once and kept in memory. There is no validation split.
data_root = 'data/synthetic/vpo-ms'
classes = ('background', 'bell', 'drum', 'cymbal', 'bird', 'gear', 'horn', 'clock', 'hive')

train_pipeline = [
    dict(
        type='CachedTransforms',
        transforms=[
            dict(type='LoadClipFrames'),
            dict(type='LoadClipMasks'),
            dict(type='LoadMixedAudio'),
            dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(96, 96), backend='pillow')]),
            dict(type='GenerateEventLabels', num_events=len(classes), source='masks'),
        ]),
    dict(type='ClipBroadcaster', share_random_params=True, transforms=[dict(type='RandomFlip', prob=0.5)]),
    dict(type='FlipAudio'),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMixedAudio'),
    dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(96, 96), backend='pillow')]),
    dict(type='PackClipInputs'),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type='VPODataset',
        data_root=data_root,
        split='train',
        subset='vpo-ms',
        metainfo=dict(classes=classes),
        pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VPODataset',
        data_root=data_root,
        split='test',
        subset='vpo-ms',
        metainfo=dict(classes=classes),
        pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = [
    dict(type='DatasetMetric', preset='ddeseg', prefix='dataset/ddeseg'),
    dict(type='DatasetMetric', preset='cavp', prefix='dataset/cavp'),
]
test_evaluator = val_evaluator

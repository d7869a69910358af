# Synthetic clips at 96x96, masks scored at 224x224. The datasets are small: training clips are read and resized once
# and kept in memory.
classes = ('background', 'bell', 'drum', 'cymbal', 'bird', 'gear', 'horn', 'clock', 'hive')

train_pipeline = [
    dict(
        type='CachedTransforms',
        transforms=[
            dict(type='LoadClipFrames'),
            dict(type='LoadClipMasks'),
            dict(type='LoadAudio', source='waveform'),
            dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(96, 96), backend='pillow')]),
            dict(type='GenerateEventLabels', source='masks'),
        ]),
    dict(type='ClipBroadcaster', share_random_params=True, transforms=[dict(type='RandomFlip', prob=0.5)]),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform'),
    dict(
        type='ClipBroadcaster', keys=('frames', ), transforms=[dict(type='Resize', scale=(96, 96), backend='pillow')]),
    dict(
        type='ClipBroadcaster', keys=('masks', ), transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]

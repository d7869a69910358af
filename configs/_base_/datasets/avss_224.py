# AVSBench-semantic (AVSS) at 224x224, masks scored at 224x224.
# Augmentation of VCT with sizes scaled to the input; works on frames of any size.
data_root = 'data/AVSBench/AVSS'

# Every picture draws its own colours; resize, crop and flip are those of the clip. Frames are RGB.
# What follows the end of a short sound is missing, not silence: VGGish's log-mel is padded with zeros, as published.
train_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMaskPrior'),
    dict(type='LoadAudio', source='waveform', mark_end=True),
    dict(type='ResizeToSquare'),
    dict(
        type='ClipBroadcaster',
        share_random_params=True,
        transforms=[
            # short sides of 0.5 to 2 times 224, long side at most 896
            dict(
                type='RandomChoiceResize',
                scales=[(int(224 * x / 10), 896) for x in range(5, 21)],
                resize_type='Resize',
                keep_ratio=True,
                backend='pillow'),
            dict(type='mmseg.RandomCrop', crop_size=(224, 224)),
            dict(type='RandomFlip', prob=0.5),
        ]),
    dict(
        type='ClipBroadcaster',
        transforms=[
            dict(type='mmseg.PhotoMetricDistortion'),
            dict(type='Pad', size=(224, 224), pad_val=dict(img=128, seg=255)),
        ]),
    dict(type='GenerateEventLabels', num_events=71, source='masks'),
    dict(type='PackClipInputs'),
]
# Frames at the size of the input, masks at the size of the published evaluation.
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMaskPrior'),
    dict(type='LoadAudio', source='waveform', mark_end=True),
    dict(
        type='ClipBroadcaster',
        keys=('frames', ),
        transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(
        type='ClipBroadcaster',
        keys=('mask_prior', ),
        transforms=[dict(type='Resize', scale=(224, 224), interpolation='nearest', backend='pillow')]),
    dict(
        type='ClipBroadcaster',
        keys=('masks', ),
        transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]

# Clips per GPU: 8 GPUs make the published batch of 8.
train_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(type='AVSSDataset', data_root=data_root, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='AVSSDataset', data_root=data_root, split='val', pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='AVSSDataset', data_root=data_root, split='test', pipeline=test_pipeline))

val_evaluator = dict(type='AVSSMetric')
test_evaluator = val_evaluator

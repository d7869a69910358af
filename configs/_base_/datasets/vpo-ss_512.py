# VPO, one sounding object (VPO-SS), trained on crops of 512x512 and scored at the native size of the pictures: the
# protocol of CAVP. There is no validation split: as published, the test split chooses the epoch. For epoch-based
# training.
data_root = 'data/VPO'

# Clips are RGB; the jitter treats them as BGR, which matters to its weights of red and blue only.
train_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMixedAudio'),
    dict(
        type='ClipBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='RandomFlip', prob=0.5),
            dict(
                type='RandomChoice',
                transforms=[[dict(type='Resize', scale_factor=x / 4, interpolation='bicubic', backend='pillow')]
                            for x in range(2, 9)]),
        ]),
    dict(type='FlipAudio'),
    dict(
        type='ClipBroadcaster',
        keys=('frames', ),
        transforms=[dict(type='mmpretrain.ColorJitter', brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25)]),
    # The padding is the mean colour; what it covers is unlabelled.
    dict(
        type='ClipBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='Pad', size=(512, 512), pad_val=dict(img=(124, 116, 104), seg=255)),
            dict(type='mmseg.RandomCrop', crop_size=(512, 512)),
        ]),
    dict(type='GenerateEventLabels', num_events=22, source='masks'),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMixedAudio'),
    dict(type='PackClipInputs'),
]

# 8 clips on each of 2 GPUs, as published.
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='VPODataset', data_root=data_root, split='train', subset='vpo-ss', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='VPODataset', data_root=data_root, split='test', subset='vpo-ss', pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(type='DatasetMetric', preset='cavp')
test_evaluator = val_evaluator

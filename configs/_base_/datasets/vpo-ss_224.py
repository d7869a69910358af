# VPO, one sounding object (VPO-SS), at 224x224, masks scored at 224x224: the protocol of DDESeg. Its box-aware crop,
# which needs ground-truth boxes, is left out; the 3 s of sound are those of CAVP, DDESeg's code hears the first second.
# There is no validation split: as published, the test split chooses the epoch. For epoch-based training.
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
            dict(type='Resize', scale=(224, 224), backend='pillow'),
            dict(type='RandomFlip', prob=0.5),
        ]),
    dict(type='FlipAudio'),
    dict(
        type='ClipBroadcaster',
        keys=('frames', ),
        transforms=[dict(type='mmpretrain.ColorJitter', brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)]),
    dict(type='GenerateEventLabels', num_events=22, source='masks'),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMixedAudio'),
    dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]

# Published: 50 clips per GPU.
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

val_evaluator = dict(type='DatasetMetric', preset='ddeseg')
test_evaluator = val_evaluator

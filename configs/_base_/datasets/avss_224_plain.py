# AVSBench-semantic (AVSS) at 224x224 without augmentation, as AVSBench's and AVSegFormer's code reads it: clips padded
# to 10 frames; in training the central square of the frames, in validation and test the whole frame squeezed into a
# square. For epoch-based training; methods set train_dataloader's batch_size and, for the published numbers, in which
# padding frames count as perfect background, test_evaluator's count_padded_frames=True.
data_root = 'data/AVSBench/AVSS'

# Frames beyond the end of a short sound get log-mel of zeros, not of silence.
train_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform', mark_end=True),
    dict(type='ResizeShortSide', size=224),
    dict(type='ClipBroadcaster', transforms=[dict(type='CenterCrop', crop_size=(224, 224))]),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform', mark_end=True),
    dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='AVSSDataset', data_root=data_root, split='train', num_frames=10, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='AVSSDataset', data_root=data_root, split='val', num_frames=10, pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='AVSSDataset', data_root=data_root, split='test', num_frames=10, pipeline=test_pipeline))

val_evaluator = dict(type='AVSSMetric')
test_evaluator = val_evaluator

# AVSBench S4 at 224x224 without augmentation, as AVSBench's and AVSegFormer's code reads it: frames resized bilinearly,
# masks to the nearest pixel, scored at the size of the input. For epoch-based training; methods set train_dataloader's
# batch_size and, for the published F-score, test_evaluator's batch_size (clips that share a threshold).
data_root = 'data/AVSBench/Single-source'

pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform'),
    dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='AVSBenchS4Dataset', data_root=data_root, split='train', pipeline=pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='AVSBenchS4Dataset', data_root=data_root, split='val', pipeline=pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='AVSBenchS4Dataset', data_root=data_root, split='test', pipeline=pipeline))

val_evaluator = dict(type='AVSBenchMetric')
test_evaluator = val_evaluator

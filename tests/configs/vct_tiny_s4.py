# A VCT of a few thousand parameters on synthetic S4 clips of 64x64, for tests of training and testing.
_base_ = [
    '../../configs/_base_/models/vct_swin-b.py', '../../configs/_base_/schedules/vct_s4.py',
    '../../configs/_base_/default_runtime.py'
]

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmseg.SwinTransformer',
        embed_dims=32,
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 2, 2),
        window_size=4,
        drop_path_rate=0.3),
    audio_backbone=dict(channels=(4, 4, 8, 8, 8, 16), init_cfg=None),
    decode_head=dict(
        input_size=(64, 64),
        audio_channels=16,
        audio_hidden_dims=32,
        pixel_decoder=dict(in_channels=(32, 64, 128, 256), embed_dims=32, num_layers=1, num_heads=2, ffn_dims=32),
        criterion=dict(num_points=64),
        num_queries=8,
        num_heads=2,
        num_layers=2,
        ffn_dims=32,
        num_prototypes=6,
        pac_loss=dict(type='PACLoss')))

data_root = 'data/synthetic/Single-source'
metainfo = dict(events=('bell', 'bird', 'cymbal', 'drum', 'gear', 'horn'))
train_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform'),
    dict(
        type='ClipBroadcaster',
        share_random_params=True,
        transforms=[
            dict(
                type='RandomChoiceResize',
                scales=[(64, 64), (80, 80), (96, 96)],
                resize_type='Resize',
                keep_ratio=True,
                backend='pillow'),
            dict(type='mmseg.RandomCrop', crop_size=(64, 64)),
            dict(type='RandomFlip', prob=0.5),
        ]),
    dict(type='ClipBroadcaster', transforms=[dict(type='mmseg.PhotoMetricDistortion')]),
    dict(type='GenerateEventLabels', num_events=6, source='category'),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform'),
    dict(type='PackClipInputs'),
]

train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type='SeededInfiniteSampler', shuffle=True),
    dataset=dict(
        type='AVSBenchS4Dataset', data_root=data_root, metainfo=metainfo, split='train', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='AVSBenchS4Dataset', data_root=data_root, metainfo=metainfo, split='val', pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='AVSBenchS4Dataset', data_root=data_root, metainfo=metainfo, split='test', pipeline=test_pipeline))
val_evaluator = dict(type='AVSBenchMetric')
test_evaluator = val_evaluator

max_iters = 8
train_cfg = dict(max_iters=max_iters, val_interval=100)
param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=max_iters + 1, by_epoch=False)]
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2, save_best=None))

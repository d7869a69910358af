# The augmentation of VCT at 128x128, for small sets: each clip is read once and kept in memory. Usage:
# _base_ = ['CONFIG.py', '../_base_/pipelines/augmented_128.py'] and pipeline=_base_.pop('augmented_pipeline').
augmented_pipeline = [
    dict(
        type='CachedTransforms',
        transforms=[
            dict(type='LoadClipFrames'),
            dict(type='LoadClipMasks'),
            dict(type='LoadAudio', source='waveform'),
            dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(160, 160), backend='pillow')]),
        ]),
    dict(
        type='ClipBroadcaster',
        share_random_params=True,
        transforms=[
            # sides of 0.8 to 1.5 times 128
            dict(
                type='RandomChoiceResize', scales=[(side, side) for side in range(104, 193, 8)], resize_type='Resize',
                keep_ratio=True),
            dict(type='mmseg.RandomCrop', crop_size=(128, 128)),
            dict(type='RandomFlip', prob=0.5),
            dict(type='mmseg.PhotoMetricDistortion'),
            dict(type='Pad', size=(128, 128), pad_val=dict(img=128, seg=255)),
        ]),
    dict(type='GenerateEventLabels', source='masks'),
    dict(type='PackClipInputs'),
]

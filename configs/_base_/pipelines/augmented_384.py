# The augmentation of VCT at 384x384, for frames of any size. Datasets insert their event labels before the last step.
# Photometric distortion is drawn per frame; resize, crop and flip are shared by the frames of a clip. Frames are RGB.
train_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMaskPrior'),
    dict(type='LoadAudio', source='waveform'),
    dict(type='ResizeToSquare'),
    dict(
        type='ClipBroadcaster',
        share_random_params=True,
        transforms=[
            # short sides of 0.5 to 2 times 384, long side at most 896
            dict(
                type='RandomChoiceResize',
                scales=[(int(384 * x / 10), 896) for x in range(5, 21)],
                resize_type='Resize',
                keep_ratio=True,
                backend='pillow'),
            dict(type='mmseg.RandomCrop', crop_size=(384, 384)),
            dict(type='RandomFlip', prob=0.5),
        ]),
    dict(
        type='ClipBroadcaster',
        transforms=[
            dict(type='mmseg.PhotoMetricDistortion'),
            dict(type='Pad', size=(384, 384), pad_val=dict(img=128, seg=255)),
        ]),
    dict(type='PackClipInputs'),
]
# Frames at the size of the input, masks at the size of the published evaluation.
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMaskPrior'),
    dict(type='LoadAudio', source='waveform'),
    dict(
        type='ClipBroadcaster',
        keys=('frames', ),
        transforms=[dict(type='Resize', scale=(384, 384), backend='pillow')]),
    dict(
        type='ClipBroadcaster',
        keys=('mask_prior', ),
        transforms=[dict(type='Resize', scale=(384, 384), interpolation='nearest', backend='pillow')]),
    dict(
        type='ClipBroadcaster',
        keys=('masks', ),
        transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]

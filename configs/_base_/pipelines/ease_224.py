# The augmentation of EASE at 224x224: a flip, and a resize to 0.1 to 2 times the size of the input, then to the input,
# which changes the resolution only; all frames of a clip get the same. Masks have 224x224 pixels, also in training.
train_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform'),
    dict(
        type='ClipBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='RandomFlip', prob=0.5),
            dict(
                type='RandomResize', scale=(224, 224), ratio_range=(0.1, 2.0), resize_type='Resize', keep_ratio=True,
                backend='pillow'),
        ]),
    dict(
        type='ClipBroadcaster',
        keys=('frames', ),
        transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(
        type='ClipBroadcaster',
        keys=('masks', ),
        transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]
test_pipeline = [*train_pipeline[:3], *train_pipeline[4:]]

# The augmentation of DDESeg on VPO at 224x224.
# Frames are RGB; the jitter treats them as BGR, which only swaps its weights of red and blue.
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
    dict(type='GenerateEventLabels', source='masks'),
    dict(type='PackClipInputs'),
]
test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMixedAudio'),
    dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]

# The augmentation of CAVP on VPO, crops of 512x512; tests at the native size of the images.
# Frames are RGB; the jitter treats them as BGR, which only swaps its weights of red and blue.
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
    # The padding is the mean color; what it covers is unlabelled.
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

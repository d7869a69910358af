# No augmentation, 224x224, in training and in tests, as in AVSBench's and AVSegFormer's code: frames are resized
# bilinearly, masks to the nearest pixel.
pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform'),
    dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(224, 224), backend='pillow')]),
    dict(type='PackClipInputs'),
]

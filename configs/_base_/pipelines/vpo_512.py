# The augmentation of CAVP on VPO, crops of 512x512, and tests at the native size of the frames; otherwise as
# vpo_224.py.
_base_ = './vpo_224.py'

_base_.train_pipeline[3].transforms = [
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoice',
        transforms=[[dict(type='Resize', scale_factor=x / 4, interpolation='bicubic', backend='pillow')]
                    for x in range(2, 9)]),
]
_base_.train_pipeline[5].transforms[0].update(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.25)
# The padding has the mean color and is unlabelled.
_base_.train_pipeline.insert(
    6,
    dict(
        type='ClipBroadcaster',
        share_random_params=True,
        transforms=[
            dict(type='Pad', size=(512, 512), pad_val=dict(img=(124, 116, 104), seg=255)),
            dict(type='mmseg.RandomCrop', crop_size=(512, 512)),
        ]))
test_pipeline = [*_base_.test_pipeline[:3], dict(type='PackClipInputs')]

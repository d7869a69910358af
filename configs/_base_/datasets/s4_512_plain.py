# AVSBench S4 at 512x512 without augmentation, masks scored at 512x512: AVSegFormer's released setting.
_base_ = 's4_224_plain.py'

pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadAudio', source='waveform'),
    dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(512, 512), backend='pillow')]),
    dict(type='PackClipInputs'),
]
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=pipeline))
val_dataloader = dict(dataset=dict(pipeline=pipeline))
test_dataloader = dict(dataset=dict(pipeline=pipeline))

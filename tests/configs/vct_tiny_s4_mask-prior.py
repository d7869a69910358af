# As vct_tiny_s4.py, with the mask-prior branch of VCT. The mask priors are in the directory priors of the data root.
_base_ = './vct_tiny_s4.py'

model = dict(
    mask_prior=dict(
        type='MaskPriorBranch', backbone=_base_.model.backbone, channels=(32, 64, 128, 256), reduction=4))

test_pipeline = [
    dict(type='LoadClipFrames'),
    dict(type='LoadClipMasks'),
    dict(type='LoadMaskPrior'),
    dict(type='LoadAudio', source='waveform'),
    dict(
        type='ClipBroadcaster',
        keys=('frames', 'masks'),
        transforms=[dict(type='Resize', scale=(64, 64), backend='pillow')]),
    dict(
        type='ClipBroadcaster',
        keys=('mask_prior', ),
        transforms=[dict(type='Resize', scale=(64, 64), interpolation='nearest', backend='pillow')]),
    dict(type='PackClipInputs'),
]
test_dataloader = dict(dataset=dict(data_prefix=dict(mask_prior='priors'), pipeline=test_pipeline))

# AVSBench-semantic (AVSS) at 224x224 as in COMBO's code: frames are cropped to their central square, flipped and
# color-jittered in training, squeezed into a square in validation and test. With the mask priors of its preparation.
_base_ = ['./avss.py', '../pipelines/augmented_224.py']

# LoadAudio: audio that ends early is missing, not silent. VGGish's log-mel is padded with zeros, as published.
_base_.train_pipeline[3].mark_end = _base_.test_pipeline[3].mark_end = True
train_pipeline = [
    *_base_.train_pipeline[:4],
    dict(type='ResizeShortSide', size=224),
    dict(type='ClipBroadcaster', transforms=[dict(type='CenterCrop', crop_size=(224, 224))]),
    dict(type='ClipBroadcaster', share_random_params=True, transforms=[dict(type='RandomFlip', prob=0.5)]),
    dict(type='ClipBroadcaster', transforms=[dict(type='mmseg.PhotoMetricDistortion')]),
    dict(type='PackClipInputs'),
]
data_prefix = dict(mask_prior='pre_SAM_mask/AVSBench_semantic')
train_dataloader = dict(dataset=dict(data_prefix=data_prefix, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(data_prefix=data_prefix, pipeline=_base_.test_pipeline))

# AVSBench-semantic (AVSS) at 224x224 without augmentation, as in AVSBench's and AVSegFormer's code: clips are padded to
# 10 frames; frames are cropped to their central square in training and squeezed into a square in validation and test.
# For epoch-based training. For the published numbers, in which padding frames count as perfect background, methods set
# count_padded_frames=True of the evaluators.
_base_ = ['./avss.py', '../pipelines/plain_224.py']

test_pipeline = _base_.pop('pipeline')
# LoadAudio: frames beyond the end of the audio get a log-mel of zeros, not of silence.
test_pipeline[2].mark_end = True
train_pipeline = [
    *test_pipeline[:3],
    dict(type='ResizeShortSide', size=224),
    dict(type='ClipBroadcaster', transforms=[dict(type='CenterCrop', crop_size=(224, 224))]),
    dict(type='PackClipInputs'),
]
train_dataloader = dict(
    batch_size=4, sampler=dict(type='DefaultSampler'), dataset=dict(num_frames=10, pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(num_frames=10, pipeline=test_pipeline))

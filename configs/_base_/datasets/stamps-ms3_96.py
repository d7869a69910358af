# As stamps-ms3_224.py at 96x96, kept in memory, with J at switches: the set of docs/reference/audio_following.md.
_base_ = './stamps-ms3_224.py'

loading = dict(
    type='CachedTransforms',
    transforms=[
        *_base_.test_pipeline[:3],
        dict(type='ClipBroadcaster', transforms=[dict(type='Resize', scale=(96, 96), backend='pillow')]),
    ])
test_pipeline = [loading, dict(type='PackClipInputs')]
train_pipeline = [loading, *_base_.train_pipeline[4:]]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=test_pipeline))

val_evaluator = test_evaluator = [dict(type='AVSBenchMetric'), dict(type='SwitchMetric')]

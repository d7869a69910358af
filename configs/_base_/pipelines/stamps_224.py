# Clips of cut-outs at 224x224, flipped at random in training; otherwise as plain_224.py.
_base_ = './plain_224.py'

test_pipeline = _base_.pop('pipeline')
train_pipeline = [
    *test_pipeline[:-1],
    dict(type='ClipBroadcaster', share_random_params=True, transforms=[dict(type='RandomFlip', prob=0.5)]),
    dict(type='GenerateEventLabels', source='masks'),
    dict(type='PackClipInputs'),
]

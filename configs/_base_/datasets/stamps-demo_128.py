# Clips of ten classes of the stamps of Tux Paint for make demo-photos: training on single frames of the AVSS-style set,
# whose masks are classes, in part with negative audio; tests on the MS3-style set. Frames are 128x128, masks are scored
# at 224x224. demo/run_photo_demo.py makes the clips.
_base_ = ['./synthetic_96.py', './negative-audio.py']

data_root = 'data/stamps-demo'
classes = ('background', 'chicken', 'cow', 'dog', 'drum', 'elephant', 'fire-engine', 'kettle', 'owl', 'sheep', 'violin')
frames_128 = dict(
    type='ClipBroadcaster', keys=('frames', ), transforms=[dict(type='Resize', scale=(128, 128), backend='pillow')])

_base_.train_pipeline[0]['transforms'][3]['transforms'][0]['scale'] = (128, 128)
_base_.test_pipeline[3] = frames_128

clips = dict(
    _base_.train_dataloader.dataset,
    data_root=f'{data_root}/AVSS',
    metainfo=dict(classes=classes),
    pipeline=_base_.train_pipeline)

train_dataloader = dict(
    batch_size=10,
    dataset=dict(_delete_=True, **_base_.negative_audio, dataset=dict(type='SingleFrames', dataset=clips)))
val_dataloader = dict(dataset=dict(clips, split='val', pipeline=_base_.test_pipeline))
test_dataloader = dict(dataset=dict(data_root=f'{data_root}/Multi-sources', pipeline=_base_.test_pipeline))

test_evaluator = dict(type='RobustnessMetric')

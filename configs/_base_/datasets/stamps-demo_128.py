# Clips of ten classes of the stamps of Tux Paint for make demo-photos: training on the AVSS-style set, whose masks are
# classes, in part with negative audio; tests on the MS3-style set. Frames are 128x128, masks are scored at 224x224.
# demo/run_photo_demo.py makes the clips.
_base_ = ['./loaders.py', '../pipelines/synthetic_96.py', './negative-audio.py']

data_root = 'data/stamps-demo'
classes = ('background', 'chicken', 'cow', 'dog', 'drum', 'elephant', 'fire-engine', 'kettle', 'owl', 'sheep', 'violin')
frames_128 = dict(
    type='ClipBroadcaster', keys=('frames', ), transforms=[dict(type='Resize', scale=(128, 128), backend='pillow')])

_base_.train_pipeline[0]['transforms'][3]['transforms'][0]['scale'] = (128, 128)
_base_.test_pipeline[3] = frames_128

train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    dataset=dict(
        **_base_.negative_audio,
        dataset=dict(
            type='AVSSDataset',
            data_root=f'{data_root}/AVSS',
            split='train',
            metainfo=dict(classes=classes),
            pipeline=_base_.train_pipeline)))
val_dataloader = dict(
    num_workers=1,
    dataset=dict(train_dataloader['dataset']['dataset'], split='val', pipeline=_base_.test_pipeline))
test_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type='AVSBenchMS3Dataset',
        data_root=f'{data_root}/Multi-sources',
        split='test',
        pipeline=_base_.test_pipeline))

val_evaluator = dict(type='AVSSMetric')
test_evaluator = dict(type='RobustnessMetric')

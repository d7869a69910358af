# As synthetic_96.py, but clips in which the same object is there twice: pitch and size tell who sounds, and who does
# changes within the clip. Frames at a change are scored on their own as well.
_base_ = './synthetic_96.py'

data_root = 'data/synthetic-twins/Twins'

train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='AVSSDataset',
        data_root=data_root,
        split='test',
        metainfo=dict(classes=_base_.classes),
        pipeline=_base_.test_pipeline))

val_evaluator = [dict(type='AVSBenchMetric'), dict(type='SwitchMetric')]
test_evaluator = val_evaluator

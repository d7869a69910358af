# As synthetic_96.py, but trained on the MS3-style set too, whose masks do not say what sounds.
_base_ = './synthetic_96.py'

data_root = 'data/synthetic-ms3/Multi-sources'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='AVSBenchMS3Dataset',
        data_root=data_root,
        split='train',
        pipeline=_base_.train_pipeline))
val_dataloader = dict(
    dataset=dict(
        _delete_=True, type='AVSBenchMS3Dataset', data_root=data_root, split='val', pipeline=_base_.test_pipeline))
test_dataloader = dict(dataset=dict(data_root=data_root))

val_evaluator = dict(type='AVSBenchMetric')
test_evaluator = val_evaluator

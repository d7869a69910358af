# Synthetic clips in the style of MS3 at 96x96, also in training: binary masks; otherwise as synthetic_96.py.
_base_ = './synthetic_96.py'

data_root = 'data/synthetic-ms3/Multi-sources'

test_dataloader = dict(dataset=dict(data_root=data_root))
train_dataloader = dict(
    dataset=dict(
        _base_.test_dataloader.dataset,
        _delete_=True,
        data_root=data_root,
        split='train',
        pipeline=_base_.train_pipeline))
val_dataloader = dict(
    dataset=dict(_base_.test_dataloader.dataset, _delete_=True, data_root=data_root, split='val'))

val_evaluator = test_evaluator = dict(type='AVSBenchMetric')

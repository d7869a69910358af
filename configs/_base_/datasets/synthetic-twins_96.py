# Synthetic clips with two objects of the same category at 96x96: pitch and size tell which one is sounding, and the
# sounding object changes within the clip. Frames at a change are also scored alone. Otherwise as synthetic_96.py.
_base_ = './synthetic_96.py'

data_root = 'data/synthetic-twins/Twins'

train_dataloader = val_dataloader = dict(
    dataset=dict(data_root=data_root, metainfo=dict(clip_length=5)))
test_dataloader = dict(
    dataset=dict(_base_.val_dataloader.dataset, _delete_=True, data_root=data_root, split='test'))

val_evaluator = test_evaluator = [dict(type='AVSBenchMetric'), dict(type='SwitchMetric')]

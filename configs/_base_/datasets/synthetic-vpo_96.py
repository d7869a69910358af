# Synthetic clips in the style of VPO-MS at 96x96: one frame and 3 s of audio, scored by the dataset protocol. There is
# no validation split.
_base_ = ['./loaders.py', '../pipelines/synthetic-vpo_96.py']

data_root = 'data/synthetic/vpo-ms'

train_dataloader = dict(
    batch_size=8, num_workers=1,
    dataset=dict(
        type='VPODataset', data_root=data_root, split='train', subset='vpo-ms',
        metainfo=dict(classes=_base_.classes), pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(
    num_workers=1, dataset=dict(train_dataloader['dataset'], split='test', pipeline=_base_.test_pipeline))

val_evaluator = test_evaluator = [
    dict(type='DatasetMetric', preset='ddeseg', prefix='dataset/ddeseg'),
    dict(type='DatasetMetric', preset='cavp', prefix='dataset/cavp'),
]

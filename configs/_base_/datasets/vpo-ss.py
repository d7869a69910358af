# VPO with one sounding object (VPO-SS), scored by the dataset protocol, for epoch-based training. VPO has no validation
# split: the test split chooses the epoch, as published. A file named by an input size adds the pipelines.
_base_ = './loaders.py'

data_root = 'data/VPO'

train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='DefaultSampler'),
    dataset=dict(type='VPODataset', data_root=data_root, split='train', subset='vpo-ss'))
val_dataloader = test_dataloader = dict(
    dataset=dict(type='VPODataset', data_root=data_root, split='test', subset='vpo-ss'))

val_evaluator = test_evaluator = dict(type='DatasetMetric')

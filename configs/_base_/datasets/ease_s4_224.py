# S4 from AVSBench-semantic (part v1s): frames of original size, resized to 224x224, masks made binary.
_base_ = ['./loaders.py', '../pipelines/ease_224.py']

data_root = 'data/AVSBench/AVSS'

train_dataloader = dict(
    dataset=dict(
        type='BinaryAVSSDataset', data_root=data_root, split='train', subset='s4', pipeline=_base_.train_pipeline))
val_dataloader = dict(
    dataset=dict(
        type='BinaryAVSSDataset', data_root=data_root, split='val', subset='s4', pipeline=_base_.test_pipeline))
test_dataloader = dict(
    dataset=dict(
        type='BinaryAVSSDataset', data_root=data_root, split='test', subset='s4', pipeline=_base_.test_pipeline))

val_evaluator = test_evaluator = dict(type='AVSBenchMetric')

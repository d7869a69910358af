# AVSBench-semantic (AVSS) at 224x224 with the augmentation of EASE; training takes its 52432 labelled frames one by
# one.
_base_ = ['./loaders.py', '../pipelines/ease_224.py']

# LoadAudio: audio that ends early is missing, not silent.
_base_.train_pipeline[2].mark_end = _base_.test_pipeline[2].mark_end = True

data_root = 'data/AVSBench/AVSS'

train_dataloader = dict(
    dataset=dict(
        type='SingleFrames',
        dataset=dict(type='AVSSDataset', data_root=data_root, split='train', pipeline=_base_.train_pipeline)))
val_dataloader = dict(
    dataset=dict(type='AVSSDataset', data_root=data_root, split='val', pipeline=_base_.test_pipeline))
test_dataloader = dict(
    dataset=dict(type='AVSSDataset', data_root=data_root, split='test', pipeline=_base_.test_pipeline))

val_evaluator = test_evaluator = dict(type='AVSSMetric')

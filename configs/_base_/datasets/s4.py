# AVSBench S4. A file named by an input size, s4_384.py for example, adds the pipelines.
_base_ = './loaders.py'

data_root = 'data/AVSBench/Single-source'

train_dataloader = dict(dataset=dict(type='AVSBenchS4Dataset', data_root=data_root, split='train'))
val_dataloader = dict(dataset=dict(type='AVSBenchS4Dataset', data_root=data_root, split='val'))
test_dataloader = dict(dataset=dict(type='AVSBenchS4Dataset', data_root=data_root, split='test'))

val_evaluator = test_evaluator = dict(type='AVSBenchMetric')

# AVSBench MS3 at 224x224, read like S4 there.
_base_ = 's4_224_plain.py'

data_root = 'data/AVSBench/Multi-sources'

train_dataloader = dict(dataset=dict(type='AVSBenchMS3Dataset', data_root=data_root))
val_dataloader = dict(dataset=dict(type='AVSBenchMS3Dataset', data_root=data_root))
test_dataloader = dict(dataset=dict(type='AVSBenchMS3Dataset', data_root=data_root))

# AVSBench MS3; otherwise as s4.py.
_base_ = './s4.py'

data_root = 'data/AVSBench/Multi-sources'

train_dataloader = val_dataloader = test_dataloader = dict(
    dataset=dict(type='AVSBenchMS3Dataset', data_root=data_root))

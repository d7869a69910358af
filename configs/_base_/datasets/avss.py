# AVSBench-semantic (AVSS), whose masks are classes; otherwise as s4.py.
_base_ = './s4.py'

data_root = 'data/AVSBench/AVSS'

train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(type='AVSSDataset', data_root=data_root))

val_evaluator = test_evaluator = dict(type='AVSSMetric')

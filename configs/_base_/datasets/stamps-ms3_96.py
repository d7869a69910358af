# Clips of twelve classes of the stamps at 96x96 with binary masks, which are scored at 224x224: for the comparison of
# methods in docs/reference/results.md. The files are those of stamps-following_128.py.
_base_ = './synthetic_96.py'

data_root = 'data/following'
masks = dict(type='BinaryAVSSDataset', subset='ms3', data_root=f'{data_root}/AVSS', metainfo=dict(_delete_=True))

train_dataloader = dict(dataset=masks)
val_dataloader = dict(dataset=masks)
test_dataloader = dict(dataset=dict(data_root=f'{data_root}/Multi-sources'))

val_evaluator = test_evaluator = dict(type='AVSBenchMetric')

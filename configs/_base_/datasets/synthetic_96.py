# Synthetic clips of tools/dataset_converters/synthesize_clips.py at 96x96: training on the AVSS-style set, whose masks
# are classes; tests on the MS3-style set.
_base_ = ['./loaders.py', '../pipelines/synthetic_96.py']

data_root = 'data/synthetic'

train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    dataset=dict(
        type='AVSSDataset',
        data_root=f'{data_root}/AVSS',
        split='train',
        metainfo=dict(classes=_base_.classes),
        pipeline=_base_.train_pipeline))
val_dataloader = dict(
    num_workers=1, dataset=dict(train_dataloader['dataset'], split='val', pipeline=_base_.test_pipeline))
test_dataloader = dict(
    num_workers=1,
    dataset=dict(
        type='AVSBenchMS3Dataset',
        data_root=f'{data_root}/Multi-sources',
        split='test',
        pipeline=_base_.test_pipeline))

val_evaluator = dict(type='AVSSMetric')
test_evaluator = dict(type='AVSBenchMetric')

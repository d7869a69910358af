# Clips of the stamps of Tux Paint in the layout of MS3 at 224x224: binary masks, every frame labelled. They are made by
# tools/dataset_converters/synthesize_clips.py data/stamps --subset ms3 --cutouts STAMPS
# (docs/user_guides/synthesis.md).
_base_ = ['./loaders.py', '../pipelines/stamps_224.py']

train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    dataset=dict(
        type='AVSBenchMS3Dataset',
        data_root='data/stamps/Multi-sources',
        split='train',
        pipeline=_base_.train_pipeline))
val_dataloader = dict(
    num_workers=1, dataset=dict(train_dataloader['dataset'], split='val', pipeline=_base_.test_pipeline))
test_dataloader = dict(num_workers=1, dataset=dict(val_dataloader['dataset'], split='test'))

val_evaluator = test_evaluator = dict(type='AVSBenchMetric')

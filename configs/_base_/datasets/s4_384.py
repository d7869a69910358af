# AVSBench S4 at 384x384 with the augmentation of VCT, masks scored at 224x224. 8 GPUs make a batch of 8.
# As in VCT's code, frames and masks come from AVSBench-semantic: run tools/dataset_converters/avss_to_object.py first.
_base_ = ['./s4.py', '../pipelines/augmented_384.py']

_base_.train_pipeline.insert(-1, dict(type='GenerateEventLabels', num_events=23, source='category'))
train_dataloader = dict(dataset=dict(layout='384', pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(layout='384', pipeline=_base_.test_pipeline))

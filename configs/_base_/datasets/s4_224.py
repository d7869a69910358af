# AVSBench S4 at 224x224 with the augmentation of VCT, masks scored at 224x224. 8 GPUs make a batch of 8.
_base_ = ['./s4.py', '../pipelines/augmented_224.py']

_base_.train_pipeline.insert(-1, dict(type='GenerateEventLabels', num_events=23, source='category'))
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))

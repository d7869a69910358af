# AVSBench MS3 at 224x224 with the augmentation of VCT, masks scored at 224x224. 2 GPUs make the batch of 2 that the
# released scripts train with.
_base_ = ['./ms3.py', '../pipelines/augmented_224.py']

train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))

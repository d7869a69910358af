# AVSBench MS3 at 224x224 with the augmentation of VCT, masks scored at 224x224. 8 GPUs make a batch of 8.
_base_ = ['./ms3.py', '../pipelines/augmented_224.py']

train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))

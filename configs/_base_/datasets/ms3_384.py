# AVSBench MS3 at 384x384 with the augmentation of VCT, masks scored at 224x224; frames and masks as in s4_384.py.
# 8 GPUs make a batch of 8.
_base_ = ['./ms3.py', '../pipelines/augmented_384.py']

train_dataloader = dict(dataset=dict(layout='384', pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(layout='384', pipeline=_base_.test_pipeline))

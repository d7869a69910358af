# AVSBench MS3 at 224x224 without augmentation; otherwise as s4_224_plain.py.
_base_ = ['./ms3.py', '../pipelines/plain_224.py']

train_dataloader = dict(batch_size=4, sampler=dict(type='DefaultSampler'), dataset=dict(pipeline=_base_.pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.pipeline))

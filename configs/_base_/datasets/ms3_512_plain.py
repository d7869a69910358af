# AVSBench MS3 at 512x512 without augmentation; otherwise as s4_512_plain.py.
_base_ = ['./ms3.py', '../pipelines/plain_512.py']

train_dataloader = dict(batch_size=2, sampler=dict(type='DefaultSampler'), dataset=dict(pipeline=_base_.pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.pipeline))

# AVSBench S4 at 512x512 without augmentation, masks scored at 512x512: AVSegFormer's released setting.
_base_ = ['./s4.py', '../pipelines/plain_512.py']

train_dataloader = dict(batch_size=2, sampler=dict(type='DefaultSampler'), dataset=dict(pipeline=_base_.pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.pipeline))

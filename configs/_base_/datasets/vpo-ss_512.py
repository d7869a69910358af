# VPO with one sounding object (VPO-SS), trained on crops of 512x512 and scored at the native size of the images: the
# protocol of CAVP. 8 clips on each of 2 GPUs, as published.
_base_ = ['./vpo-ss.py', '../pipelines/vpo_512.py']

train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
val_evaluator = test_evaluator = dict(preset='cavp')

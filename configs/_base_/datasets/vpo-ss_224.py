# VPO with one sounding object (VPO-SS) at 224x224, masks scored at 224x224: the protocol of DDESeg. Published: 50 clips
# per GPU. Its box-aware crop, which needs ground-truth boxes, is left out; the 3 s of audio are those of CAVP, DDESeg's
# code takes the first second.
_base_ = ['./vpo-ss.py', '../pipelines/vpo_224.py']

train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
val_evaluator = test_evaluator = dict(preset='ddeseg')

# AVSBench S4 at 224x224 without augmentation, masks scored at 224x224. For epoch-based training; methods set
# train_dataloader's batch_size and, for the published F-score, test_evaluator's batch_size (clips that share a threshold).
_base_ = ['./s4.py', '../pipelines/plain_224.py']

train_dataloader = dict(batch_size=4, sampler=dict(type='DefaultSampler'), dataset=dict(pipeline=_base_.pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.pipeline))

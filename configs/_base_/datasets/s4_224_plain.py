# AVSBench S4 at 224x224 without augmentation, masks scored at 224x224. For epoch-based training; methods set the
# batch_size of test_evaluator (clips that share a threshold) for the published F-score.
_base_ = ['./s4.py', '../pipelines/plain_224.py']

train_dataloader = dict(batch_size=4, sampler=dict(type='DefaultSampler'), dataset=dict(pipeline=_base_.pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.pipeline))

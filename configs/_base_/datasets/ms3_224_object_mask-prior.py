# AVSBench MS3 at 224x224 as it is downloaded (AVSBench-object), with the mask priors of COMBO's released preparation.
_base_ = ['./ms3.py', '../pipelines/augmented_224.py']

data_prefix = dict(mask_prior='ms3_data/pre_SAM_mask')
train_dataloader = dict(dataset=dict(data_prefix=data_prefix, pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(data_prefix=data_prefix, pipeline=_base_.test_pipeline))

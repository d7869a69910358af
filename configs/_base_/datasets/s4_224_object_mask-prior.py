# AVSBench S4 at 224x224 as it is downloaded (AVSBench-object), with the mask priors of COMBO's released preparation and
# the augmentation that VCT has from it. 8 GPUs make a batch of 8.
_base_ = ['./s4.py', '../pipelines/augmented_224.py']

data_prefix = dict(mask_prior='s4_data/pre_SAM_mask')
train_dataloader = dict(dataset=dict(data_prefix=data_prefix, pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(data_prefix=data_prefix, pipeline=_base_.test_pipeline))

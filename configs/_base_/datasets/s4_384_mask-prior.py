# AVSBench S4 at 384x384 with the mask priors of VCT's released preparation.
_base_ = './s4_384.py'

data_prefix = dict(mask_prior='s4_data_384/pre_SAM_mask_384')
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(data_prefix=data_prefix))

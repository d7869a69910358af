# AVSBench MS3 at 384x384 with the mask priors of VCT's released preparation.
_base_ = './ms3_384.py'

data_prefix = dict(mask_prior='ms3_data_384/pre_SAM_mask_384')
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(data_prefix=data_prefix))

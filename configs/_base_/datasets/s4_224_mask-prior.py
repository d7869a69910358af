# AVSBench S4 at 224x224 with the mask priors of VCT's released preparation, in its directory layout.
_base_ = './s4_224.py'

data_prefix = dict(mask_prior='s4_data_384/pre_SAM_mask_384')
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(layout='384', data_prefix=data_prefix))

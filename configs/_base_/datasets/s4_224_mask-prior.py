# AVSBench S4 at 224x224 with the mask priors of VCT's released preparation, in its tree of files.
_base_ = './s4_224.py'

data_prefix = dict(mask_prior='s4_data_384/pre_SAM_mask_384')
train_dataloader = dict(dataset=dict(layout='384', data_prefix=data_prefix))
val_dataloader = dict(dataset=dict(layout='384', data_prefix=data_prefix))
test_dataloader = dict(dataset=dict(layout='384', data_prefix=data_prefix))

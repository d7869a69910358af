# AVSBench-semantic (AVSS) at 224x224 with the mask priors of VCT's released preparation, in its directory layout.
_base_ = './avss_224.py'

data_prefix = dict(mask_prior='pre_SAM_mask/AVSBench_semantic')
train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(data_prefix=data_prefix))

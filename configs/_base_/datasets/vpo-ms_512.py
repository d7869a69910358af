# VPO with several sounding objects of different classes (VPO-MS); otherwise as vpo-ss_512.py.
_base_ = './vpo-ss_512.py'

train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(subset='vpo-ms'))

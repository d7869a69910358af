# VPO with several sounding objects, also of one class (VPO-MSMI); otherwise as vpo-ss_512.py.
_base_ = './vpo-ss_512.py'

train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(subset='vpo-msmi'))

# VPO, several sounding objects, also of one class (VPO-MSMI); otherwise as vpo-ss_512.py.
_base_ = './vpo-ss_512.py'

train_dataloader = dict(dataset=dict(subset='vpo-msmi'))
val_dataloader = dict(dataset=dict(subset='vpo-msmi'))
test_dataloader = dict(dataset=dict(subset='vpo-msmi'))

# RAVS with PVTv2-B5 on VPO-MSMI; otherwise as on VPO-SS.
_base_ = './ravs_pvt-v2-b5_vpo-ss.py'

train_dataloader = dict(dataset=dict(subset='vpo-msmi'))
val_dataloader = dict(dataset=dict(subset='vpo-msmi'))
test_dataloader = dict(dataset=dict(subset='vpo-msmi'))

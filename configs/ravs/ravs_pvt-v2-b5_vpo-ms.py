# RAVS with PVTv2-B5 on VPO-MS; otherwise as on VPO-SS.
_base_ = './ravs_pvt-v2-b5_vpo-ss.py'

train_dataloader = dict(dataset=dict(subset='vpo-ms'))
val_dataloader = dict(dataset=dict(subset='vpo-ms'))
test_dataloader = dict(dataset=dict(subset='vpo-ms'))

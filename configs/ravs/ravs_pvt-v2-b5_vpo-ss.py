# RAVS with PVTv2-B5 on VPO-SS at 224x224, by the dataset protocol; 8 GPUs with 8 clips each.
_base_ = [
    '../_base_/models/ravs_pvt-v2-b5.py', '../_base_/datasets/vpo-ss_224.py',
    '../_base_/schedules/ravs_vpo.py', '../_base_/default_runtime_epoch.py'
]

model = dict(
    audio_backbone=dict(examples_per_frame=3),  # all of the 3 s of a clip
    decode_head=dict(
        num_classes=22,
        temporal=False,  # a clip has one frame, no other one to attend to
        uncertainty_loss=dict(ramp_steps=1770)))  # inferred: some 10 epochs

# RAVS with PVTv2-B5 on AVSBench-semantic (AVSS) at 224x224; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/ravs_pvt-v2-b5.py', '../_base_/datasets/avss_224.py',
    '../_base_/schedules/ravs_avss.py', '../_base_/default_runtime.py'
]

model = dict(
    decode_head=dict(
        num_classes=71,
        uncertainty_loss=dict(ramp_steps=10630)))  # inferred: 10 epochs

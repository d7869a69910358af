# RAVS with PVTv2-B5 on AVSBench MS3 at 224x224; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/ravs_pvt-v2-b5.py', '../_base_/datasets/ms3_224.py',
    '../_base_/schedules/ravs_ms3.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(uncertainty_loss=dict(ramp_steps=370)))  # inferred: 10 epochs

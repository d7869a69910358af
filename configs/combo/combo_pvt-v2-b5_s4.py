# COMBO with PVTv2-B5 on AVSBench S4 at 224x224, with mask priors; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/combo_pvt-v2-b5.py', '../_base_/datasets/s4_224_object_mask-prior.py',
    '../_base_/schedules/combo_s4.py', '../_base_/default_runtime.py'
]

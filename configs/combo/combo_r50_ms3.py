# COMBO with ResNet-50 on AVSBench MS3 at 224x224, with mask priors; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/combo_r50.py', '../_base_/datasets/ms3_224_object_mask-prior.py',
    '../_base_/schedules/combo_ms3.py', '../_base_/default_runtime.py'
]

# COMBO with ResNet-50 on AVSBench-semantic (AVSS) at 224x224, with mask priors; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/combo_r50.py', '../_base_/datasets/avss_224_center-crop_mask-prior.py',
    '../_base_/schedules/combo_avss.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_classes=71))

# COMBO with PVTv2-B5 on AVSBench-semantic (AVSS) at 224x224, with mask priors; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/combo_pvt-v2-b5.py', '../_base_/datasets/avss_224_center-crop_mask-prior.py',
    '../_base_/schedules/combo_avss.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_classes=71))

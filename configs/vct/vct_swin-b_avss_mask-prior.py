# VCT with Swin-B on AVSBench-semantic (AVSS) at 384x384, as published; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/vct_swin-b_mask-prior.py', '../_base_/datasets/avss_384_mask-prior.py',
    '../_base_/schedules/vct_avss.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_classes=71, num_prototypes=71, pac_loss=dict(type='PACLoss')))

# VCT with ResNet-50 on AVSBench-semantic (AVSS) at 224x224, with mask priors; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/vct_r50-224_mask-prior.py', '../_base_/datasets/avss_224_mask-prior.py',
    '../_base_/schedules/vct_avss.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_classes=71, num_prototypes=71, pac_loss=dict(type='PACLoss')))

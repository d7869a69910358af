# VCT with Swin-B on AVSBench S4 at 384x384, as published; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/vct_swin-b_mask-prior.py', '../_base_/datasets/s4_384_mask-prior.py',
    '../_base_/schedules/vct_s4.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_prototypes=23, pac_loss=dict(type='PACLoss')))

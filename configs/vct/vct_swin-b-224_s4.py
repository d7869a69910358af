# VCT with Swin-B on AVSBench S4 at 224x224, without mask priors; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/vct_swin-b-224.py', '../_base_/datasets/s4_224.py',
    '../_base_/schedules/vct_s4.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_prototypes=23, pac_loss=dict(type='PACLoss')))

# ACT with Swin-B on AVSBench-semantic (AVSS) at 384x384, without mask priors; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/act_swin-b.py', '../_base_/datasets/avss_384.py',
    '../_base_/schedules/vct_avss.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_classes=71))

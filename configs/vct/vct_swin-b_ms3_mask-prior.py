# VCT with Swin-B on AVSBench MS3 at 384x384, as published; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/vct_swin-b_mask-prior.py', '../_base_/datasets/ms3_384_mask-prior.py',
    '../_base_/schedules/vct_ms3.py', '../_base_/default_runtime.py'
]

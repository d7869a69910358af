# VCT with PVTv2-B5 on AVSBench MS3 at 224x224, without mask priors; 8 GPUs with 1 clip each.
_base_ = [
    '../_base_/models/vct_pvt-v2-b5-224.py', '../_base_/datasets/ms3_224.py',
    '../_base_/schedules/vct_ms3.py', '../_base_/default_runtime.py'
]

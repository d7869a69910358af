# EASE with PVTv2-B5 on AVSBench MS3 at 384x384; 1 GPU with 5 clips.
_base_ = [
    '../_base_/models/ease_pvt-v2-b5-384.py', '../_base_/datasets/ease_ms3_384.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['pvt-v2-b5-384_ms3'])

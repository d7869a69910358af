# EASE with PVTv2-B5 on AVSBench MS3 at 224x224; 1 GPU with 12 clips.
_base_ = [
    '../_base_/models/ease_pvt-v2-b5.py', '../_base_/datasets/ease_ms3_224.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['pvt-v2-b5_ms3'])

# EASE with PVTv2-B5 on AVSBench S4 at 224x224; 1 GPU with 12 clips.
_base_ = [
    '../_base_/models/ease_pvt-v2-b5.py', '../_base_/datasets/ease_s4_224.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['pvt-v2-b5_s4'])

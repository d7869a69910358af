# EASE with DINOv3-B on AVSBench S4 at 224x224; 1 GPU with 12 clips.
_base_ = [
    '../_base_/models/ease_dinov3-b.py', '../_base_/datasets/ease_s4_224.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['dinov3-b_s4'])

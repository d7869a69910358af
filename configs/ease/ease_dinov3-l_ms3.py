# EASE with DINOv3-L on AVSBench MS3 at 224x224; 1 GPU with 8 clips.
_base_ = [
    '../_base_/models/ease_dinov3-l.py', '../_base_/datasets/ease_ms3_224.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['dinov3-l_ms3'])

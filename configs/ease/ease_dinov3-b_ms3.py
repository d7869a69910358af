# EASE with DINOv3-B on AVSBench MS3 at 224x224; 1 GPU with 12 clips.
_base_ = [
    '../_base_/models/ease_dinov3-b.py', '../_base_/datasets/ease_ms3_224.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['dinov3-b_ms3'])

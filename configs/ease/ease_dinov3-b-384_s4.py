# EASE with DINOv3-B on AVSBench S4 at 384x384; 1 GPU with 8 clips.
_base_ = [
    '../_base_/models/ease_dinov3-b.py', '../_base_/datasets/ease_s4_384.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['dinov3-b-384_s4'])

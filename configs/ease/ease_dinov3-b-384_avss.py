# EASE with DINOv3-B on AVSBench-semantic (AVSS) at 384x384; 1 GPU with 40 frames.
_base_ = [
    '../_base_/models/ease_dinov3-b.py', '../_base_/datasets/ease_avss_384.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['dinov3-b-384_avss'])
model = dict(decode_head=dict(num_classes=71))

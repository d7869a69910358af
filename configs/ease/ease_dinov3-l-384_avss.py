# EASE with DINOv3-L on AVSBench-semantic (AVSS) at 384x384; 1 GPU with 20 frames.
_base_ = [
    '../_base_/models/ease_dinov3-l.py', '../_base_/datasets/ease_avss_384.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['dinov3-l-384_avss'])
model = dict(decode_head=dict(num_classes=71))

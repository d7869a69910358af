# EASE with DINOv3-L on AVSBench-semantic (AVSS) at 224x224; 1 GPU with 30 frames.
_base_ = [
    '../_base_/models/ease_dinov3-l.py', '../_base_/datasets/ease_avss_224.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['dinov3-l_avss'])
model = dict(decode_head=dict(num_classes=71))

# EASE with PVTv2-B5 on AVSBench-semantic (AVSS) at 384x384; 1 GPU with 25 frames.
_base_ = [
    '../_base_/models/ease_pvt-v2-b5-384.py', '../_base_/datasets/ease_avss_384.py', '../_base_/schedules/ease.py'
]

globals().update(_base_.pop('schedules')['pvt-v2-b5-384_avss'])
model = dict(decode_head=dict(num_classes=71))

# Each pixel weighs the audio that it receives by a sigmoid, an idea of DDESeg (CVPR 2025).
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(backbone=dict(gate=True))

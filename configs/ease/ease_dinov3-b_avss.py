_base_ = ['../_base_/models/ease_dinov3-b.py']

model = dict(decode_head=dict(num_classes=71))

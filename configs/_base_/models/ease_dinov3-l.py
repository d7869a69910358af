# EASE with DINOv3-L/16; otherwise as ease_dinov3-b.py.
_base_ = ['./ease.py', '../backbones/dinov3-l.py']

model = dict(
    backbone=_base_.pop('backbone'),
    decode_head=dict(
        embed_dims=_base_.pop('backbone_channels'),
        fusion_blocks=(20, 21, 22, 23),
        num_queries=100,
        num_query_blocks=4,
        mask_annealing=((0.20, 0.35, 0.50, 0.65), (0.35, 0.50, 0.65, 0.80))))

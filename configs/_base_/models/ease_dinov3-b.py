# EASE with DINOv3-B/16: the audio is fused before the last four blocks, in which the 100 queries ride.
_base_ = ['./ease.py', '../backbones/dinov3-b.py']

model = dict(
    backbone=_base_.pop('backbone'),
    decode_head=dict(
        embed_dims=_base_.pop('backbone_channels'),
        fusion_blocks=(8, 9, 10, 11),
        num_queries=100,
        num_query_blocks=4,
        mask_annealing=((0.20, 0.35, 0.50, 0.65), (0.35, 0.50, 0.65, 0.80))))

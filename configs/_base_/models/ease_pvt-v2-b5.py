# EASE with PVTv2-B5 for frames of 224x224: the audio is fused before the last seven blocks, the queries ride in six.
_base_ = './ease.py'

model = dict(
    backbone=dict(
        type='BlockPVTv2',
        arch='b5',
        num_head_blocks=7,
        num_full_blocks=6,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/pvt_v2_b5.pth')),
    decode_head=dict(
        embed_dims=320,
        fusion_blocks=(42, 43, 44, 45, 46, 47, 48),
        num_queries=29,  # 14 * 14 patches and the queries fill a square of 15 * 15
        num_query_blocks=6,
        mask_annealing=((0.10, 0.20, 0.40, 0.50, 0.60, 0.70), (0.20, 0.30, 0.50, 0.60, 0.70, 0.80)),
        norm_before_late_fusion=True))

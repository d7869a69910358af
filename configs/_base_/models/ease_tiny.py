# EASE with every part of the published model, with few channels and blocks; the backbone is a PVTv2.
_base_ = './tiny.py'

num_classes = 9
_base_.pop('backbone_channels')

model = dict(
    independent_frames=True,
    backbone=dict(
        _delete_=True,
        type='BlockPVTv2',
        arch=dict(embed_dims=(16, 32, 64, 128), depths=(1, 1, 4, 1), num_heads=(1, 1, 2, 2), mlp_ratios=(4, 4, 4, 4)),
        num_head_blocks=3,
        num_full_blocks=2),
    decode_head=dict(
        type='EASEHead',
        num_classes=num_classes,
        embed_dims=64,
        audio_channels=128,
        fusion_blocks=(3, 4, 5),
        num_queries=13,  # with 6 * 6 patches, 7 * 7
        num_query_blocks=2,
        mask_annealing=((0.2, 0.4), (0.4, 0.6)),
        norm_before_late_fusion=True,
        audio_dims=64,
        num_clusters=16,
        ffn_dims=128,
        criterion=dict(type='SetCriterion', num_points=784)))

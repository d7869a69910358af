# RAVS with PVTv2-B5, one output channel: the model of S4 and MS3.
# Values marked "inferred" are our choice, because the paper's are not known; configs/ravs/README.md gives the reasons.
_base_ = ['./audio_visual_segmentor.py', '../backbones/pvt-v2-b5.py']

model = dict(
    backbone=dict(
        type='AudioGuidedBackbone',
        backbone=_base_.pop('backbone'),  # inferred
        audio_channels=128,
        num_groups=(49, 49, 25, 9),  # inferred
        num_heads=8,  # inferred
        num_neighbors=5,  # inferred: that of DPC-KNN in TCFormer
        num_updates=2,  # decoder layers, inferred
        compact_update='decoder',
        gate=False,
        min_prominence=0.),
    # The audio backbone is inferred; DDESeg has HTSAT.
    decode_head=dict(
        type='RAVSHead',
        num_classes=1,
        in_channels=_base_.pop('backbone_channels'),
        audio_channels=128,
        embed_dims=256,  # inferred
        num_heads=8,  # inferred
        contrast_loss=dict(
            type='ResponseContrastLoss',
            embed_dims=256,  # inferred
            fraction=0.2,  # inferred
            temperature=0.1,  # inferred
            loss_weight=0.1),  # lambda, inferred
        uncertainty_loss=dict(
            type='EvidenceLoss',
            loss_weight=0.1,  # mu, inferred
            ramp_steps=4320),  # inferred: 10 epochs, those of S4 here
        mask_weights=(5., 5., 2.),  # inferred: those of DDESeg
        # Prediction (1 - u) p
        uncertainty_exponent=1.,
        relative_uncertainty=False))

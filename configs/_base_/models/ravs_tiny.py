# RAVS with every part, with few channels and groups. Three choices are ours and not the paper's: the formula of the
# update and the gate, with which the small models were measured, and a prediction that ignores the uncertainty.
_base_ = ['./tiny.py', '../backbones/audio-guided_tiny.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.pop('audio_guided'), backbone=_base_.model.backbone),
    decode_head=dict(
        type='RAVSHead',
        num_classes=9,
        in_channels=_base_.pop('backbone_channels'),
        embed_dims=64, num_heads=4,
        contrast_loss=dict(type='ResponseContrastLoss', embed_dims=64),
        uncertainty_loss=dict(type='EvidenceLoss', loss_weight=0.1, ramp_steps=200),
        uncertainty_exponent=0.))  # chosen on validation clips of twins

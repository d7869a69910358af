# VCT with a second Swin-B, of the same initial weights, for the mask priors, as published; otherwise as vct_swin-b.py.
_base_ = './vct_swin-b.py'

model = dict(
    mask_prior=dict(
        type='MaskPriorBranch', channels=_base_.model.decode_head.pixel_decoder.in_channels,
        backbone=_base_.model.backbone))

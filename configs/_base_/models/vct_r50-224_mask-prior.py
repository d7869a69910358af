# VCT with a second ResNet-50, of the same initial weights, for the mask priors; otherwise as vct_r50-224.py.
_base_ = './vct_r50-224.py'

model = dict(
    mask_prior=dict(
        type='MaskPriorBranch', channels=_base_.model.decode_head.pixel_decoder.in_channels,
        backbone=_base_.model.backbone))

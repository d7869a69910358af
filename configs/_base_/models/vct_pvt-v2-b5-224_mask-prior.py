# VCT with a second PVTv2-b5, of the same initial weights, for the mask priors.
_base_ = './vct_pvt-v2-b5-224.py'

model = dict(
    mask_prior=dict(type='MaskPriorBranch', channels=(64, 128, 320, 512), backbone=_base_.model.backbone))

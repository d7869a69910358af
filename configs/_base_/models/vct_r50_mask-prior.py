# VCT with a second ResNet-50, of the same initial weights, for the mask priors.
_base_ = './vct_r50.py'

model = dict(
    mask_prior=dict(type='MaskPriorBranch', channels=(256, 512, 1024, 2048), backbone=_base_.model.backbone))

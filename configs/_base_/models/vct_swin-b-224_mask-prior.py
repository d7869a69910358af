# VCT with a second Swin-B, of the same initial weights, for the mask priors, at 224x224.
_base_ = './vct_swin-b-224.py'

model = dict(
    mask_prior=dict(type='MaskPriorBranch', channels=(128, 256, 512, 1024), backbone=_base_.model.backbone))

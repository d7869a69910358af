# VCT with a second PVTv2-B5, of the same initial weights, for the mask priors; otherwise as vct_pvt-v2-b5-224.py.
_base_ = './vct_pvt-v2-b5-224.py'

model = dict(
    mask_prior=dict(
        type='MaskPriorBranch', channels=_base_.model.decode_head.pixel_decoder.in_channels,
        backbone=_base_.model.backbone))

# All stages of the image backbone are trained.
_base_ = '../vct_efficientnet-lite0-128_stamps-following.py'

model = dict(backbone=dict(frozen_stages=0))

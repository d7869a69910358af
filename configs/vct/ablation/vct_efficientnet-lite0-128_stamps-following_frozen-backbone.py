# The image backbone is not trained.
_base_ = '../vct_efficientnet-lite0-128_stamps-following.py'

model = dict(backbone=dict(frozen_stages=4))

# Frames of 384x384, masks of 224x224; otherwise as ease_224.py.
_base_ = './ease_224.py'

_base_.train_pipeline[3].transforms[1].scale = (384, 384)
_base_.train_pipeline[4].transforms[0].scale = (384, 384)
_base_.test_pipeline[3].transforms[0].scale = (384, 384)

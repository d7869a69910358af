# No augmentation, 512x512; otherwise as plain_224.py.
_base_ = './plain_224.py'

_base_.pipeline[3].transforms[0].scale = (512, 512)

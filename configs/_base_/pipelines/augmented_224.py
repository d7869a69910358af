# The augmentation of VCT at 224x224; otherwise as augmented_384.py.
_base_ = './augmented_384.py'

# short sides of 0.5 to 2 times 224, long side at most 896
_base_.train_pipeline[5].transforms[0].scales = [(int(224 * x / 10), 896) for x in range(5, 21)]
_base_.train_pipeline[5].transforms[1].crop_size = (224, 224)
_base_.train_pipeline[6].transforms[1].size = (224, 224)  # Pad
_base_.test_pipeline[4].transforms[0].scale = (224, 224)  # frames
_base_.test_pipeline[5].transforms[0].scale = (224, 224)  # mask priors

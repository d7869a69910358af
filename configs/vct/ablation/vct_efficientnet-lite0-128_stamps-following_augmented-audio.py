# Random gain, spectral tilt and noise in training.
_base_ = '../vct_efficientnet-lite0-128_stamps-following.py'

train_pipeline = [*_base_.train_pipeline[:-1], dict(type='AugmentAudio'), _base_.train_pipeline[-1]]

train_dataloader = dict(dataset=dict(dataset=dict(dataset=dict(pipeline=train_pipeline))))

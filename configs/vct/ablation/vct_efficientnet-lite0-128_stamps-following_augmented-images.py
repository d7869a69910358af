# Images of random size, crop and color in training.
_base_ = ['../vct_efficientnet-lite0-128_stamps-following.py', '../../_base_/pipelines/augmented_128.py']

train_dataloader = dict(dataset=dict(dataset=dict(dataset=dict(pipeline=_base_.pop('augmented_pipeline')))))

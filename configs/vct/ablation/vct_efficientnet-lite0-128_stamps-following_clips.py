# Whole clips in training: two of five frames in a batch instead of ten single frames.
_base_ = '../vct_efficientnet-lite0-128_stamps-following.py'

train_dataloader = dict(batch_size=2, dataset=dict(dataset=dict(_delete_=True, **_base_.clips)))
auto_scale_lr = dict(base_batch_size=2)

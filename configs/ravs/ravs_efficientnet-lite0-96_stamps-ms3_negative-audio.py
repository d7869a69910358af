# One clip in four has negative audio in training.
_base_ = ['./ravs_efficientnet-lite0-96_stamps-ms3.py', '../_base_/datasets/negative-audio.py']

train_dataloader = dict(
    dataset=dict(_delete_=True, **_base_.negative_audio, dataset=_base_.train_dataloader.dataset))
train_dataloader['dataset']['share'] = 0.25

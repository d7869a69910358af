# The small COMBO, also trained with negative audio.
_base_ = ['./combo_tiny_synthetic-ms3.py', '../_base_/datasets/negative-audio.py']

train_dataloader = dict(
    dataset=dict(_delete_=True, **_base_.negative_audio, dataset=_base_.train_dataloader.dataset))

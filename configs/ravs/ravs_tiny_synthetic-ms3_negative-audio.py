# The small RAVS, trained with wrong sounds as well.
_base_ = ['./ravs_tiny_synthetic-ms3.py', '../_base_/datasets/negative-audio.py']

train_dataloader = dict(
    dataset=dict(_delete_=True, **_base_.negatives, dataset=_base_.train_dataloader.dataset))

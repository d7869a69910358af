# With negative audio; batch norms of the image backbone use the statistics of the batch, as in training from scratch.
_base_ = '../ravs_efficientnet-lite0-96_stamps-ms3_negative-audio.py'

model = dict(backbone=dict(backbone=dict(norm_eval=False)))

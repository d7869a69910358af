# With negative audio; the weights of the image backbone are not trained.
_base_ = '../ravs_efficientnet-lite0-96_stamps-ms3_negative-audio.py'

model = dict(backbone=dict(backbone=dict(frozen_stages=4)))

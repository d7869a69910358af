# With negative audio, and with loudness, timbre and noise of the audio changed at random in training.
_base_ = '../ravs_efficientnet-lite0-96_stamps-ms3_negative-audio.py'

train_pipeline = [*_base_.train_pipeline[:-1], dict(type='AugmentAudio'), _base_.train_pipeline[-1]]
train_dataloader = dict(dataset=dict(dataset=dict(pipeline=train_pipeline)))

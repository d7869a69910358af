# No negative audio in training.
_base_ = '../vct_efficientnet-lite0-128_stamps-following.py'

train_dataloader = dict(dataset=dict(share=0.))

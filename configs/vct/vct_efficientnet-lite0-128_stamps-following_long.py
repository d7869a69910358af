# vct_efficientnet-lite0-128_stamps-following.py with three times as many steps, and one frame in ten with negative
# audio. docs/reference/audio_following.md compares both shares.
_base_ = './vct_efficientnet-lite0-128_stamps-following.py'

max_iters = 3000

train_dataloader = dict(dataset=dict(share=0.1))
_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)

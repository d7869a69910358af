# TPAVI: Adam at a constant learning rate; 15 epochs, those of S4.
_base_ = './epochs.py'

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = []

auto_scale_lr = dict(enable=False, base_batch_size=4)
train_cfg = dict(max_epochs=15)

# TPAVI: Adam at a constant learning rate; 15 epochs on S4. MS3 and AVSS set their own number.
_base_ = './epochs.py'

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
param_scheduler = []

train_cfg = dict(max_epochs=15)

# AVSegFormer: AdamW at a constant learning rate, weight decay on every parameter; 30 epochs on S4 and AVSS. MS3 sets its
# own number.
_base_ = './epochs.py'

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-5, weight_decay=0.01))
param_scheduler = []

train_cfg = dict(max_epochs=30)

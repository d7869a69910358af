# AVSegFormer: AdamW at a constant learning rate, weight decay on every parameter; 30 epochs, those of S4 and AVSS.
_base_ = './epochs.py'

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=2e-5, weight_decay=0.01))
param_scheduler = []

auto_scale_lr = dict(enable=False, base_batch_size=4)
train_cfg = dict(max_epochs=30)

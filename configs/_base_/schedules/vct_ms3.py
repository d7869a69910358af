# VCT on MS3: as on S4, but 40k iterations, evaluated every 500.
_base_ = './vct_s4.py'

max_iters = 40000

param_scheduler = [dict(type='PolyLR', eta_min=0, power=0.9, begin=0, end=max_iters + 1, by_epoch=False)]
train_cfg = dict(max_iters=max_iters, val_interval=500)
default_hooks = dict(checkpoint=dict(interval=500))

# AVSegFormer on MS3: 60 epochs; otherwise as on S4.
_base_ = './avsegformer_s4.py'

train_cfg = dict(max_epochs=60)

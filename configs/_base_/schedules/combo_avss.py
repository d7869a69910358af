# COMBO on AVSS: mixed precision; otherwise as combo_s4.py.
_base_ = './combo_s4.py'

optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')

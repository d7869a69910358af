# Sweep of the number of groups P: 196 at strides 4 and 8.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(backbone=dict(num_groups=(196, 196, 100, 25)))

# Sweep of the number of groups P: 100 at strides 4 and 8.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(backbone=dict(num_groups=(100, 100, 49, 16)))

# The number of groups adapts to the frame: as many as have a prominent center, at most num_groups.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(backbone=dict(num_groups=(100, 100, 49, 16), min_prominence=0.3))

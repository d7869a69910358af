# The number of groups adapts to the frame: as many as have a prominent center, at most num_groups.
_base_ = '../ravs_tiny_synthetic-twins.py'

model = dict(backbone=dict(min_prominence=0.3))

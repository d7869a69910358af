# Without uncertainty.
_base_ = '../ravs_tiny_synthetic-twins.py'

model = dict(decode_head=dict(uncertainty_loss=None))

# Without uncertainty.
_base_ = '../ravs_tiny_synthetic.py'

model = dict(decode_head=dict(uncertainty_loss=None))

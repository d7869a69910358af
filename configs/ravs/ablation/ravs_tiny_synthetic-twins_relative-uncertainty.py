# Pixels that are more uncertain than the predicted foreground of their frame are lowered.
_base_ = '../ravs_tiny_synthetic-twins.py'

model = dict(decode_head=dict(uncertainty_exponent=1., relative_uncertainty=True))

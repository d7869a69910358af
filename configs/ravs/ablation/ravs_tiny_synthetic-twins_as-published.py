# The paper's choices in place of those of the small models: decoder layers, no gate, and the prediction (1 - u) p.
_base_ = '../ravs_tiny_synthetic-twins.py'

model = dict(
    backbone=dict(compact_update='decoder', gate=False),
    decode_head=dict(uncertainty_exponent=1.))

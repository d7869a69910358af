# Without the contrast of strong and weak responses.
_base_ = '../ravs_tiny_synthetic-twins.py'

model = dict(decode_head=dict(contrast_loss=None))

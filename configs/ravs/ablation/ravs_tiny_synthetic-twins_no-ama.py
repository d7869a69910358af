# Without modality alignment: in its place the attention of the baseline, of the sound and all pixels of the frame.
_base_ = '../ravs_tiny_synthetic-twins.py'

model = dict(backbone=dict(num_groups=None, merging=False), decode_head=dict(contrast_loss=None))

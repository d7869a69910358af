# Without modality alignment: instead the attention of the baseline, between the audio and all pixels of the frame.
_base_ = '../ravs_tiny_synthetic-twins.py'

model = dict(backbone=dict(num_groups=None, merging=False), decode_head=dict(contrast_loss=None))

# BEATs in place of VGGish, for any method, frozen (frozen=False trains it too):
# _base_ = ['METHOD.py', '../_base_/audio_backbones/beats.py'] and
# audio_backbone=dict(_delete_=True, **_base_.audio_backbone), decode_head=dict(audio_channels=_base_.audio_channels).
audio_backbone = dict(
    type='BEATs',
    # As published; a fine-tuned file can be used too.
    init_cfg=dict(type='Pretrained', checkpoint='pretrained/BEATs_iter3_plus_AS2M.pt'))
audio_channels = 768
# For VCT: the 48 tokens of a frame as a grid of time steps x frequency bands.
audio_grid = (6, 8)

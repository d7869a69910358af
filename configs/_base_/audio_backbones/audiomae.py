# AudioMAE in place of VGGish, for any method, frozen (frozen=False trains it too):
# _base_ = ['METHOD.py', '../_base_/audio_backbones/audiomae.py'] and
# audio_backbone=dict(_delete_=True, **_base_.audio_backbone), decode_head=dict(audio_channels=_base_.audio_channels).
audio_backbone = dict(
    type='AudioMAE',
    # As published; the fine-tuned file can be used too.
    init_cfg=dict(type='Pretrained', checkpoint='pretrained/audiomae_pretrained.pth'))
audio_channels = 768
# For VCT: the 48 tokens of a frame as a grid of time steps x frequency bands.
audio_grid = (6, 8)

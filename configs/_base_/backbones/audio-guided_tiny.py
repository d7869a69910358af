# RAVS's audio-guided encoder around a small backbone, with the formula of the update and the gate:
# _base_ = [MODEL, '../_base_/backbones/audio-guided_tiny.py'] and
# backbone=dict(_delete_=True, **_base_.pop('audio_guided'), backbone=_base_.model.backbone).
audio_guided = dict(
    type='AudioGuidedBackbone',
    audio_channels=128,
    num_groups=(16, 16, 9, 4),
    num_heads=4,
    compact_update='formula',
    gate=True)

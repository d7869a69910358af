# RAVS's audio-guided encoder under AVSegFormer's decoder.
_base_ = '../avsegformer_efficientnet-lite0-96_stamps-ms3.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='AudioGuidedBackbone',
        backbone=_base_.model.backbone,
        audio_channels=128,
        num_groups=(16, 16, 9, 4),
        num_heads=4,
        compact_update='formula',
        gate=True))

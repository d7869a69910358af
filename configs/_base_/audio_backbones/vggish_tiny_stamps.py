# The small VGGish, pretrained on recordings of cut-outs and frozen. tools/pretrain_audio.py makes the file:
# docs/reference/audio_following.md.
# _base_ = ['METHOD.py', '../_base_/audio_backbones/vggish_tiny_stamps.py'] and
# audio_backbone=_base_.pop('audio_backbone').
audio_backbone = dict(
    frozen=True,
    init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='pretrained/vggish_tiny_stamps.pth'))

# The small VGGish, pretrained on the audio of synthetic clips and frozen, as VGGish is in the published models; trained
# with the rest, it first forgets its pretraining. tools/analysis_tools/compare_methods.py makes the file.
# _base_ = ['METHOD.py', '../_base_/audio_backbones/vggish_tiny_synthetic.py'] and
# audio_backbone=_base_.pop('audio_backbone').
audio_backbone = dict(
    frozen=True,
    init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='pretrained/vggish_tiny_drawn-sounds.pth'))

# AST in place of VGGish, for any method, frozen; needs the library transformers (requirements/optional.txt):
# _base_ = ['METHOD.py', '../_base_/audio_backbones/ast.py'] and
# audio_backbone=dict(_delete_=True, **_base_.audio_backbone), decode_head=dict(audio_channels=_base_.audio_channels).
audio_backbone = dict(type='AST', directory='pretrained/ast-finetuned-audioset-10-10-0.4593')
audio_channels = 768
# For VCT: the 108 tokens of a frame as a grid of time steps x frequency bands.
audio_grid = (9, 12)

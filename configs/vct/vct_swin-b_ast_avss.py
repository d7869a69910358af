# VCT that hears through AST in place of VGGish: 108 tokens of a frame, 9 steps of time by 12 of frequency.
# Needs the library transformers (requirements/optional.txt).
_base_ = './vct_swin-b_avss.py'

model = dict(
    audio_backbone=dict(_delete_=True, type='AST', folder='pretrained/ast-finetuned-audioset-10-10-0.4593'),
    decode_head=dict(audio_channels=768, audio_grid=(9, 12)))

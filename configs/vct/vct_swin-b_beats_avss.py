# VCT that hears through BEATs in place of VGGish: 48 tokens of a frame, 6 steps of time by 8 of frequency.
_base_ = './vct_swin-b_avss.py'

model = dict(
    audio_backbone=dict(
        _delete_=True,
        type='BEATs',
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/BEATs_iter3_plus_AS2M.pt')),
    decode_head=dict(audio_channels=768, audio_grid=(6, 8)))

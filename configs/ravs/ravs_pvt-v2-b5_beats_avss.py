# RAVS that hears through BEATs in place of VGGish: 48 tokens of a frame.
_base_ = './ravs_pvt-v2-b5_avss.py'

model = dict(
    backbone=dict(audio_channels=768),
    audio_backbone=dict(
        _delete_=True,
        type='BEATs',
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/BEATs_iter3_plus_AS2M.pt')),
    decode_head=dict(audio_channels=768))

# AVSegFormer (AAAI version) with ResNet-50; otherwise as avsegformer_pvt-v2-b5.py. Its batch norms are trained, with
# the statistics of all frames of a batch.
_base_ = './avsegformer_pvt-v2-b5.py'

model = dict(
    independent_frames=False,
    backbone=dict(
        _delete_=True,
        type='mmseg.ResNet',
        depth=50,
        style='pytorch',
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    decode_head=dict(in_channels=(256, 512, 1024, 2048)))

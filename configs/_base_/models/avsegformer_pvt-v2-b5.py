# AVSegFormer (AAAI version) with PVTv2-b5, one output channel: the model of S4 and MS3; AVSS sets its own classes.
model = dict(
    type='AudioVisualSegmentor',
    independent_frames=True,
    data_preprocessor=dict(
        type='AVSDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        pad_size_divisor=32),
    backbone=dict(
        type='PVTv2',
        arch='b5',
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/pvt_v2_b5.pth')),
    audio_backbone=dict(
        type='VGGish',
        output='embedding',
        frozen=True,
        init_cfg=dict(type='Pretrained', checkpoint='pretrained/vggish-10086976.pth')),
    decode_head=dict(type='AVSegFormerHead', num_classes=1, in_channels=(64, 128, 320, 512)))

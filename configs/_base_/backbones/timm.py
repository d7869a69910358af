# A model of timm (pip install timm), pretrained on ImageNet-1k, for any method: ResNet-50 as an example of the about
# thousand that timm.list_pretrained() names. model_name and backbone_channels belong together:
# timm.create_model(NAME, features_only=True).feature_info.channels(). out_indices are the maps at strides 4, 8, 16 and
# 32: (0, 1, 2, 3) for models that begin with stride 4, as ConvNeXt does. timm downloads the weights when it builds the
# model, therefore a test needs pretrained=False or the network.
# _base_ = ['METHOD.py', '../_base_/backbones/timm.py'] and backbone=dict(_delete_=True, **_base_.backbone).
backbone = dict(
    type='mmpretrain.TIMMBackbone',
    model_name='resnet50.a1_in1k',
    features_only=True,
    pretrained=True,
    out_indices=(1, 2, 3, 4))
backbone_channels = (256, 512, 1024, 2048)

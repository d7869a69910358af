# DINOv3-L/16; otherwise as dinov3-b.py.
_base_ = './dinov3-b.py'

backbone = dict(
    arch=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16),
    directory='pretrained/dinov3-vitl16-pretrain-lvd1689m')
backbone_channels = 1024

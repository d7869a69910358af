# A ResNet-18 with a quarter of the channels, for small models on CPUs, trained from scratch.
backbone = dict(type='mmseg.ResNet', depth=18, stem_channels=16, base_channels=16, norm_cfg=dict(type='BN'))
backbone_channels = (16, 32, 64, 128)

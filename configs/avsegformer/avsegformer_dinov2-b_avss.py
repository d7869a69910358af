# AVSegFormer with DINOv2-B (plain ViT) on AVSBench-semantic (AVSS) at 224x224; 1 GPU with 4 clips.
_base_ = ['./avsegformer_pvt-v2-b5_avss.py', '../_base_/backbones/dinov2-b.py']

model = dict(
    backbone=dict(_delete_=True, **_base_.backbone), decode_head=dict(in_channels=_base_.backbone_channels))
optim_wrapper = dict(constructor='ParamRulesOptimWrapperConstructor', paramwise_cfg=_base_.layer_decay)

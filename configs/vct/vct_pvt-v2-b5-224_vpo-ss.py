# VCT with PVTv2-B5 on VPO-SS at 224x224, by the dataset protocol; 8 GPUs with 1 clip each. Its authors did not use VPO;
# the schedule is that of AVSS.
_base_ = [
    '../_base_/models/vct_pvt-v2-b5-224.py', '../_base_/datasets/vpo-ss_224.py',
    '../_base_/schedules/vct_avss.py', '../_base_/default_runtime.py'
]

model = dict(
    audio_backbone=dict(examples_per_frame=3),  # all of the 3 s of a clip
    decode_head=dict(num_classes=22, audio_grid=(18, 4), num_prototypes=22, pac_loss=dict(type='PACLoss')))
train_dataloader = dict(batch_size=1, sampler=dict(type='SeededInfiniteSampler'))
default_hooks = dict(checkpoint=dict(save_best='dataset/J&F'))

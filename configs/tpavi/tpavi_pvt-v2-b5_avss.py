# TPAVI with PVTv2-B5 on AVSBench-semantic (AVSS) at 224x224; 1 GPU with 4 clips.
_base_ = [
    '../_base_/models/tpavi_pvt-v2-b5.py', '../_base_/datasets/avss_224_plain.py',
    '../_base_/schedules/tpavi_avss.py', '../_base_/default_runtime_epoch.py'
]

model = dict(
    decode_head=dict(
        num_classes=71, audio_bias=False, avm_loss=dict(type='AudioVisualMatchingLoss', reduction='mean')))
# As published: padding frames count as perfect background.
val_evaluator = test_evaluator = dict(count_padded_frames=True)

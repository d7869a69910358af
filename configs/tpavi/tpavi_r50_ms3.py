# TPAVI with ResNet-50 on AVSBench MS3 at 224x224; 1 GPU with 4 clips.
_base_ = [
    '../_base_/models/tpavi_r50.py', '../_base_/datasets/ms3_224_plain.py',
    '../_base_/schedules/tpavi_ms3.py', '../_base_/default_runtime_epoch.py'
]

model = dict(decode_head=dict(avm_loss=dict(type='AudioVisualMatchingLoss')))
# The published F-score is that of batches of 4 clips.
test_evaluator = dict(batch_size=4)

# TPAVI with ResNet-50 on AVSBench S4 at 224x224; 1 GPU with 4 clips.
_base_ = [
    '../_base_/models/tpavi_r50.py', '../_base_/datasets/s4_224_plain.py',
    '../_base_/schedules/tpavi.py', '../_base_/default_runtime_epoch.py'
]

# The published F-score is that of batches of 4 clips.
test_evaluator = dict(batch_size=4)

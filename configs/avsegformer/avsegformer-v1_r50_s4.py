# First public version of AVSegFormer with ResNet-50 on AVSBench S4 at 224x224; 1 GPU with 4 clips.
_base_ = [
    '../_base_/models/avsegformer-v1_r50.py', '../_base_/datasets/s4_224_plain.py',
    '../_base_/schedules/avsegformer_s4.py', '../_base_/default_runtime_epoch.py'
]

# The published F-score is that of batches of 4 clips.
test_evaluator = dict(batch_size=4)
custom_hooks = _base_.custom_hooks + [dict(type='FreezeBackboneHook', epochs=5)]

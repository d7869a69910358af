# AVSegFormer with ResNet-50 on AVSBench S4 at 512x512, the setting of the released code; 1 GPU with 2 clips.
_base_ = [
    '../_base_/models/avsegformer_r50.py', '../_base_/datasets/s4_512_plain.py',
    '../_base_/schedules/avsegformer_s4.py', '../_base_/default_runtime_epoch.py'
]

# The published F-score is that of batches of 2 clips.
test_evaluator = dict(batch_size=2)
custom_hooks = _base_.custom_hooks + [dict(type='FreezeBackboneHook', epochs=5)]
auto_scale_lr = dict(base_batch_size=2)

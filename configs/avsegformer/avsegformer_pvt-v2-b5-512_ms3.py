# AVSegFormer with PVTv2-B5 on AVSBench MS3 at 512x512, the setting of the released code; 1 GPU with 2 clips.
_base_ = [
    '../_base_/models/avsegformer_pvt-v2-b5.py', '../_base_/datasets/ms3_512_plain.py',
    '../_base_/schedules/avsegformer_ms3.py', '../_base_/default_runtime_epoch.py'
]

# The published F-score is that of batches of 2 clips.
test_evaluator = dict(batch_size=2)
custom_hooks = _base_.custom_hooks + [dict(type='FreezeBackboneHook', epochs=10)]
auto_scale_lr = dict(base_batch_size=2)

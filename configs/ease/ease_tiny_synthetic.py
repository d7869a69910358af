# A small EASE on synthetic clips, trained from scratch on a CPU in a few minutes.
_base_ = [
    '../_base_/models/ease_tiny.py', '../_base_/datasets/synthetic_96.py',
    '../_base_/schedules/tiny_synthetic.py', '../_base_/default_runtime.py'
]

custom_hooks = [*_base_.custom_hooks, dict(type='TrainingProgressHook')]

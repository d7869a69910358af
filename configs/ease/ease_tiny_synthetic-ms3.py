# A small EASE on synthetic clips in the style of MS3: binary masks, every frame labelled.
_base_ = [
    '../_base_/models/ease_tiny.py', '../_base_/datasets/synthetic-ms3_96.py',
    '../_base_/audio_backbones/vggish_tiny_synthetic.py', '../_base_/schedules/tiny_synthetic_binary.py',
    '../_base_/default_runtime.py'
]

model = dict(audio_backbone=_base_.pop('audio_backbone'), decode_head=dict(num_classes=2))
custom_hooks = [*_base_.custom_hooks, dict(type='TrainingProgressHook')]

# A small RAVS on synthetic clips in the style of VPO: single frames, each with 3 s of audio.
_base_ = [
    '../_base_/models/ravs_tiny.py', '../_base_/datasets/synthetic-vpo_96.py',
    '../_base_/schedules/tiny_synthetic.py', '../_base_/default_runtime.py'
]

model = dict(audio_backbone=dict(examples_per_frame=3), decode_head=dict(temporal=False))
auto_scale_lr = dict(base_batch_size=8)

# A small RAVS on synthetic clips with two objects of the same category, one of which is sounding. Masks are binary: the
# category of the sounding object is easy to tell here, which of the two is sounding is not.
_base_ = [
    '../_base_/models/ravs_tiny.py', '../_base_/datasets/synthetic-twins_96.py',
    '../_base_/audio_backbones/vggish_tiny_synthetic-pitch.py', '../_base_/schedules/tiny_synthetic_binary.py',
    '../_base_/default_runtime.py'
]

model = dict(audio_backbone=_base_.pop('audio_backbone'), decode_head=dict(num_classes=1))

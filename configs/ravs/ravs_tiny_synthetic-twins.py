# A small RAVS on drawn clips in which the same object is there twice, and one of the two sounds. Masks are binary: what
# sounds is easy to tell here, which one is not.
_base_ = [
    '../_base_/models/ravs_tiny.py', '../_base_/datasets/synthetic-twins_96.py',
    '../_base_/audio_backbones/vggish_tiny_synthetic.py', '../_base_/schedules/tiny_synthetic_binary.py',
    '../_base_/default_runtime.py'
]

model = dict(
    # Frozen, as the published one: trained with the rest, it first forgets what it knows.
    audio_backbone=dict(frozen=True, init_cfg=dict(_delete_=True, **_base_.drawn_pitches)),
    decode_head=dict(num_classes=1))

# A small RAVS on drawn clips in which the same object is there twice, and one of the two sounds.
_base_ = [
    '../_base_/models/ravs_tiny.py', '../_base_/datasets/synthetic-twins_96.py',
    '../_base_/schedules/tiny_synthetic.py', '../_base_/default_runtime.py'
]

model = dict(
    # Begins with knowing sounds. tools/analysis_tools/compare_methods.py makes the file.
    audio_backbone=dict(
        init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='pretrained/vggish_tiny_drawn-sounds.pth')))

# A small TPAVI on drawn clips in the style of MS3: binary masks, every frame labelled.
_base_ = [
    '../_base_/models/tpavi_tiny.py', '../_base_/datasets/synthetic-ms3_96.py',
    '../_base_/schedules/tiny_synthetic_binary.py', '../_base_/default_runtime.py'
]

model = dict(
    # As VGGish comes to the published models: knowing sounds, and not trained. tools/analysis_tools/compare_methods.py
    # makes the file.
    audio_backbone=dict(
        frozen=True,
        init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='pretrained/vggish_tiny_drawn-sounds.pth')),
    decode_head=dict(num_classes=1, audio_bias=True))

# A small VCT on drawn clips in the style of MS3: binary masks, every frame labelled; no prototypes, as on MS3.
_base_ = [
    '../_base_/models/vct_tiny.py', '../_base_/datasets/synthetic-ms3_96.py',
    '../_base_/schedules/tiny_synthetic_binary.py', '../_base_/default_runtime.py'
]

model = dict(
    # As VGGish comes to the published models: knowing sounds, and not trained. tools/analysis_tools/compare_methods.py
    # makes the file.
    audio_backbone=dict(
        frozen=True,
        init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='pretrained/vggish_tiny_drawn-sounds.pth')),
    decode_head=dict(num_classes=2, num_prototypes=None, pac_loss=None))

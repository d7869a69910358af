# A small TPAVI on drawn clips in the style of MS3: binary masks, every frame labelled.
_base_ = [
    '../_base_/models/tpavi_tiny.py', '../_base_/datasets/synthetic-ms3_96.py',
    '../_base_/schedules/tiny_synthetic.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_classes=1, audio_bias=True, avm_loss=dict(reduction='sum')))

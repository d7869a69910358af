# A small AVSegFormer on drawn clips in the style of MS3: binary masks, every frame labelled.
_base_ = [
    '../_base_/models/avsegformer_tiny.py', '../_base_/datasets/synthetic-ms3_96.py',
    '../_base_/schedules/tiny_synthetic.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_classes=1))

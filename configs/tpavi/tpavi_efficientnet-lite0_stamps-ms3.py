# A small TPAVI with EfficientNet-Lite0 on clips of the stamps of Tux Paint, in the layout of MS3: binary masks.
_base_ = [
    '../_base_/models/tpavi_efficientnet-lite0-224.py', '../_base_/datasets/stamps-ms3_224.py',
    '../_base_/schedules/stamps.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_classes=1, audio_bias=True))

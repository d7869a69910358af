# A small RAVS with EfficientNet-Lite0 on clips of the stamps of Tux Paint, in the layout of AVSS: class masks.
_base_ = [
    '../_base_/models/ravs_efficientnet-lite0-224.py', '../_base_/datasets/stamps-avss_224.py',
    '../_base_/schedules/stamps.py', '../_base_/default_runtime.py'
]

model = dict(decode_head=dict(num_classes=len(_base_.classes)))

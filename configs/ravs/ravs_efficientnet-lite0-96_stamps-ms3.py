# A small RAVS with EfficientNet-Lite0 at 96x96 and the pretrained small VGGish, on clips of the stamps with binary
# masks, for the comparison of docs/reference/results.md.
_base_ = [
    '../_base_/models/ravs_efficientnet-lite0-224.py', '../_base_/audio_backbones/vggish_tiny_stamps.py',
    '../_base_/datasets/stamps-ms3_96.py', '../_base_/schedules/stamps_methods.py', '../_base_/default_runtime.py'
]

model = dict(
    audio_backbone=_base_.pop('audio_backbone'),
    backbone=dict(num_groups=(16, 16, 9, 4), backbone=dict(type='TimmCNN', norm_eval=True, frozen_stages=2)),
    decode_head=dict(num_classes=1))

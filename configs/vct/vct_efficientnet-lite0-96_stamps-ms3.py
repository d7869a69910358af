# A small VCT with EfficientNet-Lite0 at 96x96 and the pretrained small VGGish, on clips of the stamps with binary
# masks, for the comparison of docs/reference/results.md.
_base_ = [
    '../_base_/models/vct_efficientnet-lite0-224.py', '../_base_/audio_backbones/vggish_tiny_stamps.py',
    '../_base_/datasets/stamps-ms3_96.py', '../_base_/schedules/stamps_methods.py', '../_base_/default_runtime.py'
]

model = dict(
    audio_backbone=_base_.pop('audio_backbone'),
    backbone=dict(type='TimmCNN', norm_eval=True, frozen_stages=2),
    decode_head=dict(input_size=(96, 96), num_classes=2, num_prototypes=None, pac_loss=None))

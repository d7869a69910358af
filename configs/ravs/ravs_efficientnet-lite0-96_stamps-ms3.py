# A small RAVS with EfficientNet-Lite0 at 96x96 and the pretrained small VGGish: the baseline of
# docs/reference/audio_following.md.
_base_ = [
    '../_base_/models/ravs_efficientnet-lite0-224.py', '../_base_/audio_backbones/vggish_tiny_stamps.py',
    '../_base_/datasets/stamps-ms3_96.py', '../_base_/schedules/stamps_short.py', '../_base_/default_runtime.py'
]

model = dict(
    audio_backbone=_base_.pop('audio_backbone'),
    # Batch norms stay as pretrained: a batch of two clips has the statistics of two images.
    backbone=dict(num_groups=(16, 16, 9, 4), backbone=dict(type='TimmCNN', norm_eval=True)),
    decode_head=dict(num_classes=1))

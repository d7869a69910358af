# A small VCT that follows the audio: trained on single frames with class masks, one in four with negative audio. Its
# audio backbone is pretrained on the recordings and frozen. docs/reference/audio_following.md compares it.
_base_ = [
    '../_base_/models/vct_efficientnet-lite0-224.py', '../_base_/audio_backbones/vggish_tiny_stamps.py',
    '../_base_/datasets/stamps-following_128.py', '../_base_/schedules/stamps_following.py',
    '../_base_/default_runtime.py'
]

num_classes = len(_base_.classes)

model = dict(
    audio_backbone=_base_.pop('audio_backbone'),
    backbone=dict(type='TimmCNN', norm_eval=True, frozen_stages=2),
    decode_head=dict(input_size=(128, 128), num_classes=num_classes, num_prototypes=num_classes))

auto_scale_lr = dict(base_batch_size=10)

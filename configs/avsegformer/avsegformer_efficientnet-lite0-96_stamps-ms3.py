# A small AVSegFormer with EfficientNet-Lite0 at 96x96, the pretrained small VGGish and negative audio; see
# docs/reference/audio_following.md.
_base_ = [
    '../_base_/models/avsegformer_efficientnet-lite0-224.py', '../_base_/audio_backbones/vggish_tiny_stamps.py',
    '../_base_/datasets/stamps-ms3_96.py', '../_base_/datasets/negative-audio.py',
    '../_base_/schedules/stamps_short.py', '../_base_/default_runtime.py'
]

model = dict(
    audio_backbone=_base_.pop('audio_backbone'),
    backbone=dict(type='TimmCNN', norm_eval=True),
    decode_head=dict(num_classes=1))

train_dataloader = dict(
    dataset=dict(_delete_=True, **_base_.negative_audio, dataset=_base_.train_dataloader.dataset))
train_dataloader['dataset']['share'] = 0.25

# A small VCT with EfficientNet-Lite0 on clips of ten classes of the stamps of Tux Paint, 128x128, for a CPU (make
# demo-photos). Its audio backbone is pretrained on the recordings and frozen: demo/run_photo_demo.py makes the file.
_base_ = [
    '../_base_/models/vct_efficientnet-lite0-224.py', '../_base_/datasets/stamps-demo_128.py',
    '../_base_/schedules/stamps_short.py', '../_base_/default_runtime.py'
]

num_classes = len(_base_.classes)

model = dict(
    # Without training the first stages, a step takes 0.6 of the time.
    backbone=dict(type='TimmCNN', norm_eval=True, frozen_stages=2),
    audio_backbone=dict(
        frozen=True,
        init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='pretrained/vggish_stamps-demo.pth')),
    decode_head=dict(input_size=(128, 128), num_classes=num_classes, num_prototypes=num_classes))

auto_scale_lr = dict(base_batch_size=10)

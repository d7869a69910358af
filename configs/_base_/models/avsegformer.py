# AVSegFormer (AAAI version) without its backbone, one output channel: the model of S4 and MS3. AVSS sets its number of
# classes.
_base_ = './audio_visual_segmentor.py'

model = dict(
    independent_frames=True,
    decode_head=dict(
        type='AVSegFormerHead',
        num_classes=1,
        # Dice on S4 and MS3, cross-entropy on AVSS.
        mask_loss=dict(
            type='MaskLoss', foreground=dict(type='FrameDiceLoss'), classes=dict(type='FrameCrossEntropyLoss')),
        mix_loss=dict(type='MixLoss', loss_weight=0.1)))

# TPAVI without its backbone, one output channel: the model of S4. MS3 and AVSS add avm_loss, AVSS its number of
# classes; see configs/tpavi.
_base_ = './audio_visual_segmentor.py'

model = dict(
    decode_head=dict(
        type='TPAVIHead',
        num_classes=1,
        # Binary cross-entropy on S4 and MS3, cross-entropy on AVSS.
        mask_loss=dict(
            type='MaskLoss',
            foreground=dict(type='FrameBinaryCrossEntropyLoss'),
            classes=dict(type='FrameCrossEntropyLoss'))))

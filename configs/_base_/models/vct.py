# VCT without its backbone, at 384x384, two classes (background, sounding object), without prototypes: the model of MS3.
# S4 and AVSS add num_prototypes and pac_loss, AVSS its number of classes; see configs/vct.
_base_ = './audio_visual_segmentor.py'

model = dict(
    independent_frames=True,
    audio_backbone=dict(output='conv'),
    decode_head=dict(
        type='VCTHead',
        num_classes=2,
        input_size=(384, 384),
        audio_channels=512,
        pixel_decoder=dict(type='MSDeformAttnPixelDecoder'),
        criterion=dict(type='SetCriterion')))

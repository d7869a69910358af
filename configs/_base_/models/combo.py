# COMBO without its backbone, with two classes (background, sounding object): the model of S4 and MS3. AVSS adds its
# number of classes. A file named by a backbone adds it, twice: for the frames and for the mask priors.
_base_ = './audio_visual_segmentor.py'

model = dict(
    mask_prior=dict(type='MaskPriorBranch'),
    decode_head=dict(
        type='COMBOHead',
        num_classes=2,
        audio_channels=128,
        pixel_decoder=dict(type='MSDeformAttnPixelDecoder'),
        criterion=dict(type='SetCriterion'),
        consistency_loss=dict(type='TemporalConsistencyLoss', weight=10.)))

# EASE with two classes (background, sounding object), without its backbone and the blocks of it that it uses; AVSS
# changes the number of classes.
_base_ = './audio_visual_segmentor.py'

model = dict(
    independent_frames=True,
    decode_head=dict(
        type='EASEHead',
        num_classes=2,
        audio_channels=128,
        criterion=dict(type='SetCriterion')))

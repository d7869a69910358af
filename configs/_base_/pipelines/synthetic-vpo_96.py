# Synthetic VPO clips at 96x96, masks scored at 96x96: audio is mixed of several files and flipped with the frame;
# otherwise as synthetic_96.py.
_base_ = './synthetic_96.py'

_base_.train_pipeline[0].transforms[2] = dict(type='LoadMixedAudio')
_base_.train_pipeline.insert(2, dict(type='FlipAudio'))
test_pipeline = [
    *_base_.train_pipeline[0].transforms[:4],
    dict(type='PackClipInputs'),
]

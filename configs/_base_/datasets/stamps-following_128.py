# The sets of docs/reference/audio_following.md: training on single frames of twelve classes of the stamps, whose masks
# are classes, one in four with negative audio; tests on clips with binary masks. Frames are 128x128, masks are scored
# at 224x224.
_base_ = './stamps-demo_128.py'

data_root = 'data/following'
classes = ('background', 'big-cat', 'camel', 'chicken', 'cow', 'deer', 'drum', 'duck', 'goat', 'hammer', 'horse',
           'pig', 'sheep')
clips = dict(data_root=f'{data_root}/AVSS', metainfo=dict(classes=classes))

train_dataloader = dict(dataset=dict(share=0.25, dataset=dict(dataset=clips)))
val_dataloader = dict(dataset=clips)
test_dataloader = dict(dataset=dict(data_root=f'{data_root}/Multi-sources'))

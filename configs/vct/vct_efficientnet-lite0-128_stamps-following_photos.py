# vct_efficientnet-lite0-128_stamps-following_long.py, trained for 1000 more steps on photos with recordings of other
# classes: docs/reference/audio_following.md. The classes are those of a private set: replace them by your own.
_base_ = ['./vct_efficientnet-lite0-128_stamps-following_long.py', '../_base_/pipelines/augmented_128.py']

max_iters = 1000
data_root = 'data/following-photos'
classes = ('background', 'person', 'dog', 'cat', 'bird', 'cow', 'sheep', 'clock', 'keyboard')
clips = dict(data_root=f'{data_root}/AVSS', metainfo=dict(classes=classes))

model = dict(decode_head=dict(num_classes=len(classes), num_prototypes=len(classes)))
# A few hundred photos: augmented.
train_dataloader = dict(
    dataset=dict(dataset=dict(dataset=dict(clips, pipeline=_base_.pop('augmented_pipeline')))))
val_dataloader = dict(dataset=clips)
test_dataloader = dict(dataset=dict(data_root=f'{data_root}/Multi-sources'))
_base_.custom_hooks[2].allow_new_classifier = True  # StrictLoadHook
_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)

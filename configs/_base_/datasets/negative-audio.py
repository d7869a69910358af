# Wrong sounds in training, one clip in ten, for which nothing is to be marked:
# _base_ = ['METHOD.py', '../_base_/datasets/negative-audio.py'] and
# dataset=dict(_delete_=True, **_base_.negatives, dataset=_base_.train_dataloader.dataset).
negatives = dict(type='NegativeAudio', share=0.1, kinds=('silence', 'noise', 'off-screen'))

# Negative audio in training: one clip in ten gets audio that does not fit it, and an empty target.
# _base_ = ['METHOD.py', '../_base_/datasets/negative-audio.py'] and
# dataset=dict(_delete_=True, **_base_.negative_audio, dataset=_base_.train_dataloader.dataset).
negative_audio = dict(type='NegativeAudio', share=0.1, kinds=('silence', 'noise', 'off-screen'))

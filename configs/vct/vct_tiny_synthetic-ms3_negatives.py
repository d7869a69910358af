# The small VCT, trained with wrong sounds as well: one clip in ten, for which nothing is to be marked.
_base_ = './vct_tiny_synthetic-ms3.py'

train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='NegativeAudio',
        share=0.1,
        kinds=('silence', 'noise', 'off-screen'),
        dataset={{_base_.train_dataloader.dataset}}))

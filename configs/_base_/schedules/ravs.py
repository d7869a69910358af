# RAVS on AVSBench. All inferred, because the paper's recipe is not known. Epochs, warm-up, learning rates and weight
# decay are those of DDESeg (CVPR 2025), which trains on batches of 50 frames per GPU. Batches of 8 clips are ours.
_base_ = ['./iterations.py', './ravs_optimizer.py']


# 150 epochs, 2 of them warm-up; evaluated on the validation split every 2 epochs.
def schedule(iters_per_epoch):
    max_iters, interval = 150 * iters_per_epoch, 2 * iters_per_epoch
    return dict(
        iters_per_epoch=iters_per_epoch,
        max_iters=max_iters,
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.001, begin=0, end=interval, by_epoch=False),
            dict(type='CosineAnnealingLR', eta_min=4e-5, begin=interval, end=max_iters + 1, by_epoch=False),
        ],
        train_cfg=dict(max_iters=max_iters, val_interval=interval),
        default_hooks=dict(checkpoint=dict(interval=interval)))


# 3452, 296 and 8498 clips in batches of 8
schedules = dict(s4=schedule(432), ms3=schedule(37), avss=schedule(1063))

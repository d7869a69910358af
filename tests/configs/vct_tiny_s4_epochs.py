# The tiny VCT trained by epochs without augmentation: 6 clips make 3 steps.
_base_ = 'vct_tiny_s4.py'

train_dataloader = dict(
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(pipeline=[
        dict(type='LoadClipFrames'),
        dict(type='LoadClipMasks'),
        dict(type='LoadAudio', source='waveform'),
        dict(type='GenerateEventLabels', num_events=6, source='category'),
        dict(type='PackClipInputs'),
    ]))
train_cfg = dict(_delete_=True, type='EpochBasedTrainLoop', max_epochs=3, val_interval=1)
param_scheduler = [dict(type='MultiStepLR', milestones=[2], by_epoch=True)]
default_hooks = dict(
    logger=dict(log_metric_by_epoch=True),
    checkpoint=dict(by_epoch=True, interval=1, max_keep_ckpts=2, save_best='avsbench/M_F'))

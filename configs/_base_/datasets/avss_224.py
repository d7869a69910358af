# AVSBench-semantic (AVSS) at 224x224 with the augmentation of VCT, masks scored at 224x224. 8 GPUs make the published
# batch of 8.
_base_ = ['./avss.py', '../pipelines/augmented_224.py']

# LoadAudio: audio that ends early is missing, not silent. VGGish's log-mel is padded with zeros, as published.
_base_.train_pipeline[3].mark_end = _base_.test_pipeline[3].mark_end = True
_base_.train_pipeline.insert(-1, dict(type='GenerateEventLabels', source='masks'))
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = test_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))

# Binary masks in training, as MS3 has them: without classes, prototypes and PAC.
_base_ = '../vct_efficientnet-lite0-128_stamps-following.py'

masks = dict(type='BinaryAVSSDataset', subset='ms3', metainfo=dict(_delete_=True))

model = dict(decode_head=dict(num_classes=2, num_prototypes=None, pac_loss=None))
train_dataloader = dict(dataset=dict(dataset=dict(dataset=masks)))
val_dataloader = dict(dataset=masks)

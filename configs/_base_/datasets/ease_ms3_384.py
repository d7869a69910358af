# MS3 from AVSBench-semantic (part v1m); otherwise as ease_s4_384.py.
_base_ = './ease_s4_384.py'

train_dataloader = val_dataloader = test_dataloader = dict(dataset=dict(subset='ms3'))

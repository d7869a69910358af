# default_runtime.py for training by epochs.
_base_ = './default_runtime.py'

log_processor = dict(by_epoch=True)

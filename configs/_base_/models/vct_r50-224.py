# VCT with ResNet-50 at 224x224; otherwise as vct_r50.py.
_base_ = './vct_r50.py'

model = dict(decode_head=dict(input_size=(224, 224)))

# The model of COMBO's released code, whose queries get the audio of other frames. For checkpoints of that code;
# otherwise as combo_r50_ms3.py.
_base_ = './combo_r50_ms3.py'

model = dict(decode_head=dict(query_layout='released'))

# The model and loss of COMBO's released code: queries get the audio of other frames, and a clip of 10 frames is
# compared as two of 5. For checkpoints of that code; otherwise as combo_pvt-v2-b5_avss.py.
_base_ = './combo_pvt-v2-b5_avss.py'

model = dict(decode_head=dict(query_layout='released', consistency_loss=dict(group_size=5)))

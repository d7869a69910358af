# The audio-centric baseline beside vct_efficientnet-lite0-96_stamps-ms3.py: same branches and training.
_base_ = './vct_efficientnet-lite0-96_stamps-ms3.py'

model = dict(decode_head=dict(query_source='audio', attend_audio=False, grouping=None))

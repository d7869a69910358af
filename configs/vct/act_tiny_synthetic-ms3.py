# The audio-centric baseline beside vct_tiny_synthetic-ms3.py: same branches, pixel decoder, decoder and training.
_base_ = './vct_tiny_synthetic-ms3.py'

model = dict(decode_head=dict(query_source='audio', attend_audio=False, grouping=None))

# The audio-centric baseline beside vct_efficientnet-lite0-224_stamps-avss.py: same branches and training.
_base_ = './vct_efficientnet-lite0-224_stamps-avss.py'

model = dict(
    decode_head=dict(
        query_source='audio', attend_audio=False, grouping=None, num_prototypes=None, pac_loss=None))

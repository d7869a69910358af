# The audio-centric baseline beside vct_tiny_synthetic.py: same branches, pixel decoder, decoder and training.
_base_ = './vct_tiny_synthetic.py'

model = dict(
    decode_head=dict(
        query_source='audio', attend_audio=False, grouping=None, num_prototypes=None, pac_loss=None))

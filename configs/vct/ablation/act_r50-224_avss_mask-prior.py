# ACT, the audio-centric baseline: queries from the audio, which the decoder does not attend.
_base_ = '../vct_r50-224_avss_mask-prior.py'

model = dict(
    decode_head=dict(
        query_source='audio', attend_audio=False, grouping=None, num_prototypes=None, pac_loss=None))

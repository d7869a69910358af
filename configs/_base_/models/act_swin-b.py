# ACT, the audio-centric baseline of VCT: queries from the sound, which the decoder does not attend; otherwise as
# vct_swin-b.py, on every subset.
_base_ = './vct_swin-b.py'

model = dict(decode_head=dict(query_source='audio', attend_audio=False, grouping=None, num_prototypes=None))

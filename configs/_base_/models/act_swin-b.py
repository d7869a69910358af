# ACT, the audio-centric baseline of VCT: queries from the audio, which the decoder does not attend, and no prototypes;
# otherwise as vct_swin-b.py.
_base_ = './vct_swin-b.py'

model = dict(decode_head=dict(query_source='audio', attend_audio=False, grouping=None, num_prototypes=None))

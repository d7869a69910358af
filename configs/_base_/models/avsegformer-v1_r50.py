# First public version of AVSegFormer: the repeated audio token as queries, trained on an intermediate mask of every
# decoder layer; otherwise as avsegformer_r50.py.
_base_ = './avsegformer_r50.py'

model = dict(decode_head=dict(num_query_layers=0, mix_weight=0., intermediate_masks='query'))

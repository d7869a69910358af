# First public version of AVSegFormer: the repeated audio token as queries, trained on an intermediate mask of every
# decoder layer; otherwise as avsegformer_pvt-v2-b5.py.
_base_ = './avsegformer_pvt-v2-b5.py'

model = dict(
    decode_head=dict(
        num_query_layers=0,
        mix_loss=None,
        intermediate_masks='query',
        intermediate_loss=dict(type='IntermediateMaskLoss', loss_weight=0.1)))

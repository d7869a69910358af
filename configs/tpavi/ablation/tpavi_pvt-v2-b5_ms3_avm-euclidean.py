# Matching by the mean Euclidean distance instead of the summed Kullback-Leibler divergence.
_base_ = '../tpavi_pvt-v2-b5_ms3.py'

model = dict(decode_head=dict(avm_loss=dict(distance='euclidean', reduction='mean')))

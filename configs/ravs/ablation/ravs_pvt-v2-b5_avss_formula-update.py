# The bare formula of the update, G <- G + softmax(G f_v^T / sqrt(D) + S) f_v, in place of transformer decoder layers.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(backbone=dict(compact_update='formula'))

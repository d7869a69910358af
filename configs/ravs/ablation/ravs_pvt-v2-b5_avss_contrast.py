# Baseline + grouping + merging + contrast; the last row, with uncertainty, is ../ravs_pvt-v2-b5_avss.py.
_base_ = '../ravs_pvt-v2-b5_avss.py'

model = dict(decode_head=dict(uncertainty_loss=None))

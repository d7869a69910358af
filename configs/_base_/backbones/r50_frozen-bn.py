# ResNet-50 with frozen batch norms (weights and statistics); otherwise as r50.py.
_base_ = './r50.py'

backbone = dict(norm_cfg=dict(requires_grad=False), norm_eval=True)

# Small models with a pretrained image backbone on the stamps; otherwise as tiny_synthetic.py. The image backbone learns
# at a tenth of the base rate, as in VCT's published recipe. The values have not been tuned.
_base_ = './tiny_synthetic.py'

max_iters = 3000

optim_wrapper = dict(paramwise_cfg=dict(lr_mult={'timm_model': 0.1}))
_base_.param_scheduler[-1].end = max_iters + 1
train_cfg = dict(max_iters=max_iters, val_interval=1000)
default_hooks = dict(checkpoint=dict(interval=1000, max_keep_ckpts=2, save_best='avsbench/M_J', rule='greater'))

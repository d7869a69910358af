"""Checks of the parity cases, one module for each kind of case."""
import os

import torch

# On a GPU, the float32 of the reference: without TF32.
DEVICE = os.environ.get('MMAVS_PARITY_DEVICE', 'cpu')
if DEVICE != 'cpu':
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

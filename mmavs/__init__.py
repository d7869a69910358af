"""mmavs: the OpenMMLab toolbox for audio-visual segmentation."""
import warnings

from .version import __version__

# mmcv warns if it has no compiled ops; mmavs then samples in plain PyTorch.
warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')

__all__ = ['__version__']

"""mmavs: the OpenMMLab toolbox for audio-visual segmentation."""
import warnings

from .version import __version__

# mmcv says so where it has no compiled ops; mmavs samples in plain PyTorch then.
warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')

__all__ = ['__version__']

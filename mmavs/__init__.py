"""mmavs: the OpenMMLab toolbox for audio-visual segmentation."""
from .version import __version__

__all__ = ['__version__']

"""Figures and videos of clips."""
from .avs_visualizer import AVSVisualizer
from .figures import draw_contact_sheet, draw_video_stills
from .frame_grid import FrameRow
from .local_backend import LocalVisBackend
from .overlay import overlay_masks
from .video import play_stills, write_video

__all__ = [
    'AVSVisualizer', 'FrameRow', 'LocalVisBackend', 'draw_contact_sheet', 'draw_video_stills', 'overlay_masks',
    'play_stills', 'write_video'
]

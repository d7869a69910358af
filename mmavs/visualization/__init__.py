"""Figures and videos of clips."""
from .avs_visualizer import AVSVisualizer
from .figures import draw_contact_sheet, draw_video_stills
from .overlay import overlay_masks
from .video import play_stills, write_video

__all__ = [
    'AVSVisualizer', 'draw_contact_sheet', 'draw_video_stills', 'overlay_masks', 'play_stills', 'write_video'
]

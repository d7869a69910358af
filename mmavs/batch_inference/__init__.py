"""Segment many videos: lists, results on any file system, a manifest, and the engines that run it."""
from .listed_videos import list_stored_videos
from .options import SegmentOptions
from .records import VideoRecord
from .run import ENGINES, segment_list
from .video import segment_video

__all__ = ['ENGINES', 'SegmentOptions', 'VideoRecord', 'list_stored_videos', 'segment_list', 'segment_video']

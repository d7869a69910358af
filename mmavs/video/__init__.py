"""Videos: frames and audio by their time."""
from .reading import AudioTrack, VideoProperties, probe_video, read_frames

__all__ = ['AudioTrack', 'VideoProperties', 'probe_video', 'read_frames']

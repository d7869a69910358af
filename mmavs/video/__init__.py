"""Videos: frames and audio by their time."""
from .listing import list_videos
from .reading import (
    FRAME_POSITION,
    AudioTrack,
    VideoProperties,
    open_video,
    probe_video,
    read_frames,
    sample_frames,
)
from .resampled_audio import ResampledAudio

__all__ = [
    'FRAME_POSITION', 'AudioTrack', 'ResampledAudio', 'VideoProperties', 'list_videos', 'open_video', 'probe_video',
    'read_frames', 'sample_frames'
]

"""Videos: frames and audio by their time."""
from .audio_track import AudioTrack
from .container import is_url, open_video
from .listing import list_videos
from .reading import FRAME_POSITION, VideoProperties, probe_video, read_frames, sample_frames
from .resampled_audio import ResampledAudio

__all__ = [
    'FRAME_POSITION', 'AudioTrack', 'ResampledAudio', 'VideoProperties', 'is_url', 'list_videos', 'open_video',
    'probe_video', 'read_frames', 'sample_frames'
]

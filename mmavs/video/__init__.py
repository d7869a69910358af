"""Videos: frames and audio by their time."""
from .audio_track import AudioTrack
from .container import audio_stream, is_url, open_video
from .frame_directory import FrameDirectory, open_frame_directory
from .listing import list_clips, list_videos
from .reading import FRAME_POSITION, VideoProperties, probe_video, read_frames, sample_frames, start_time
from .resampled_audio import ResampledAudio

__all__ = [
    'FRAME_POSITION', 'AudioTrack', 'FrameDirectory', 'ResampledAudio', 'VideoProperties', 'audio_stream', 'is_url',
    'list_clips', 'list_videos', 'open_frame_directory', 'open_video', 'probe_video', 'read_frames', 'sample_frames',
    'start_time'
]

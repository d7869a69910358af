"""Find videos by a path, a directory or a pattern."""
import glob
import warnings
from pathlib import Path

from .frame_directory import list_frames

#: Suffixes of the video files that a directory is searched for, in lower case. A file that is named is read whatever
#: its suffix is.
VIDEO_SUFFIXES = ('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.flv', '.wmv', '.mpg', '.mpeg', '.ts', '.mts',
                  '.m2ts', '.3gp', '.3g2', '.ogv', '.mxf', '.vob')


def list_videos(path: str | Path) -> list[Path]:
    """List the video files of a directory, without hidden ones and subdirectories, those of a pattern, or the one file.

    Args:
        path: A file, a directory or a pattern (``clips/*.mp4``, ``**/*.mkv``). What exists is no pattern, whatever
            its name is. Unless a pattern ends in a suffix, only files with one of ``VIDEO_SUFFIXES`` are taken.

    Raises:
        ValueError: The directory holds no video file, or the pattern matches none.
    """
    path = Path(path)
    if path.is_dir():
        videos = _videos_in(path)
        if not videos:
            raise ValueError(f'{path}: the directory holds no video file ({", ".join(VIDEO_SUFFIXES)})')
        return videos
    if not is_pattern(path):
        return [path]
    videos = [match for match in _matches(path) if match.is_file()]
    if not videos:
        raise ValueError(f'{path}: no video file matches this pattern')
    return videos


def list_clips(path: str | Path) -> list[Path]:
    """List videos as :func:`list_videos`, and the directories of frames that a path or a pattern stands for.

    A directory that holds video files is a directory of videos, also if there are images beside them.

    Raises:
        ValueError: There is none.
    """
    path = Path(path)
    if path.is_dir():
        videos = _videos_in(path)
        if not videos and not list_frames(path):
            raise ValueError(f'{path}: the directory holds no video file ({", ".join(VIDEO_SUFFIXES)}) and no frames')
        if videos and list_frames(path):
            warnings.warn(f'{path}: the directory holds videos and images, the videos are taken; to use the images as '
                          'frames, move them to a directory of their own', stacklevel=2)
        return videos or [path]
    if not is_pattern(path):
        return [path]
    clips = [match for match in _matches(path)
             if match.is_file() or match.name != 'frames' and not _videos_in(match) and list_frames(match)]
    if not clips:
        raise ValueError(f'{path}: no video file and no directory of frames matches this pattern')
    return clips


def is_pattern(path: str | Path) -> bool:
    """Check if a path is a pattern of file names."""
    return glob.has_magic(str(path)) and not Path(path).exists()


def _videos_in(directory: Path) -> list[Path]:
    return sorted(file for file in directory.iterdir() if _is_video(file) and file.is_file())


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and not path.name.startswith('.')


def _matches(pattern: Path) -> list[Path]:
    """Files and directories that match a pattern; of the files only videos, unless it ends in a suffix."""
    matches = sorted(map(Path, glob.iglob(str(pattern), recursive=True)))
    if pattern.suffix and not glob.has_magic(pattern.suffix):
        return matches
    return [match for match in matches if match.is_dir() or _is_video(match)]

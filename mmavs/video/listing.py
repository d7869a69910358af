"""Video files of a directory."""
from pathlib import Path

#: Suffixes of the video files that a directory is searched for, in lower case. A file that is named is read whatever
#: its suffix is.
VIDEO_SUFFIXES = ('.mp4', '.m4v', '.mov', '.mkv', '.webm', '.avi', '.flv', '.wmv', '.mpg', '.mpeg', '.ts', '.mts',
                  '.m2ts', '.3gp', '.3g2', '.ogv', '.mxf', '.vob')


def list_videos(path: str | Path) -> list[Path]:
    """List the video files of a directory, without hidden ones, or the one file.

    Raises:
        ValueError: The directory holds no video file.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    videos = sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith('.')
                    and file.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise ValueError(f'{path}: the directory holds no video file ({", ".join(VIDEO_SUFFIXES)})')
    return videos

"""List the videos of a text file or of a directory, on local disks and on the file systems of fsspec."""
from pathlib import Path, PurePosixPath

from mmavs.utils.files import read_text
from mmavs.utils.optional_packages import optional_import
from mmavs.video.listing import VIDEO_SUFFIXES

from .storage import PURPOSE, is_stored, storage_errors


def list_stored_videos(source: str, without: str | None = None) -> list[str]:
    """List videos, each once.

    Args:
        source: A text file in UTF-8 with one path or URL per line, relative paths being relative to the current
            directory and empty lines left out; or a directory, all of whose subdirectories are searched for video
            files, without hidden ones. Either a local path or a URL of a file system of fsspec.
        without: A directory whose files are no inputs: that of the results, which may be in ``source``.

    Returns:
        Absolute paths and URLs; those of a directory sorted.

    Raises:
        FileNotFoundError: There is no such file or directory.
        ImportError, OSError: The file system cannot be used.
        ValueError: It lists no video, or it is not a text file.
    """
    fsspec = optional_import('fsspec.core', PURPOSE)
    with storage_errors(source):
        fs, path = fsspec.url_to_fs(source)
        is_directory = fs.isdir(path)
    if is_directory:
        with storage_errors(source):
            found = fs.find(path)
        left_out = fsspec.url_to_fs(without)[1].rstrip('/') + '/' if without else None
        stored = is_stored(source)
        videos = [fs.unstrip_protocol(file) if stored else file for file in sorted(found)
                  if _is_video(file[len(path):]) and not (left_out and file.startswith(left_out))]
        if not videos:
            raise ValueError(f'{source}: no video file ({", ".join(VIDEO_SUFFIXES)}) in the directory or below it')
        return videos
    lines = _read_lines(source, fs, path)
    videos = [line if '://' in line else str(Path(line).absolute()) for line in lines if line]
    if not videos:
        raise ValueError(f'{source}: the list is empty, expected the path or URL of a video in each line')
    return list(dict.fromkeys(videos))


def _read_lines(source: str, fs, path: str) -> list[str]:
    if not is_stored(source):
        return [line.strip() for line in read_text(path, 'a list of videos, or a directory of videos').splitlines()]
    with storage_errors(source):
        content = fs.cat_file(path)
    try:
        return [line.strip() for line in content.decode('utf-8-sig').splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f'{source}: not a list of videos in UTF-8 ({error})') from error


def _is_video(path: str) -> bool:
    """Whether a path in a directory is that of a video, and no part of it hidden."""
    parts = PurePosixPath(path).parts
    return PurePosixPath(path).suffix.lower() in VIDEO_SUFFIXES and not any(part.startswith('.') for part in parts)

"""Names of mask files in the layouts in which datasets and repositories store them."""
import os
import re
from collections.abc import Iterator
from pathlib import Path

# Directories below that of a clip that hold its masks; a clip that has several is read from the first.
LABEL_DIRECTORIES = ('labels_semantic', 'processed_labels_semantic', 'labels_rgb')
# Words before the number of a frame that are not the name of a clip.
FRAME_WORDS = ('frame', 'frames', 'img', 'image', 'mask', 'label', 'pred', 'gt')
FRAME_NAME = re.compile(rf'(?:(?P<clip>.+)_|(?:{"|".join(FRAME_WORDS)}))?(?P<number>\d+)', re.IGNORECASE)
VIDEO_SUFFIX = re.compile(r'\.(mp4|avi|mkv|mov|webm)$', re.IGNORECASE)


def png_files(root: str) -> Iterator[tuple[str, list[str]]]:
    """Iterate over the directories below a root and their PNG files; hidden files and directories are left out."""
    for directory, children, files in os.walk(root):
        labels = [name for name in LABEL_DIRECTORIES if name in children]
        # Beside the labels of a clip are its frames and other forms of its labels.
        children[:] = labels[:1] or sorted(name for name in children if not name.startswith('.'))
        files = [name for name in sorted(files) if name.lower().endswith('.png') and not name.startswith('.')]
        if files and not labels:
            yield directory, files


def clip_and_frame(path: str, single_frame: bool) -> tuple[str, int] | None:
    """Find the clip and the frame number of a file.

    Args:
        path: The file, relative to the root of the masks.
        single_frame: The file is a clip of its own.

    Returns:
        The name of the clip ('.' for the root itself) and the number; None if the name ends in no number.
    """
    *parents, name = Path(path).parts
    if parents and parents[-1] in LABEL_DIRECTORIES:
        parents.pop()
    stem = os.path.splitext(name)[0]
    if single_frame:
        return '/'.join([*parents, *([] if parents and set(stem) == {'0'} else [stem])]), 0
    match = FRAME_NAME.fullmatch(stem)
    if match is None:
        return None
    clip = VIDEO_SUFFIX.sub('', match['clip'] or '')
    if clip and clip.lower() not in FRAME_WORDS and (not parents or clip != VIDEO_SUFFIX.sub('', parents[-1])):
        parents.append(clip)
    return '/'.join(parents) or '.', int(match['number'])

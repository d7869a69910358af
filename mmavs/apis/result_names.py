"""Name the directories of the results of videos."""
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

MAX_QUERY = 100


def result_names(videos: Sequence[str | Path]) -> list[str]:
    """Names of the result directories of videos: their file names without suffix, or more where these are the same.

    Videos of one name get the name with its suffix; those that still have the same, as many of their parent directories
    before it as make a difference: ``a/x.mp4`` and ``b/x.mp4`` get ``a/x.mp4`` and ``b/x.mp4``, ``x.mkv`` ``x.mkv``. A
    video that is listed twice has one name.
    """
    paths = {str(video): _absolute(str(video)) for video in videos}
    levels = dict.fromkeys(paths.values(), 0)
    while True:
        names = {path: _name(path, level) for path, level in levels.items()}
        count = Counter(names.values())
        same = [path for path, name in names.items() if count[name] > 1 and levels[path] < len(path.parts)]
        if not same:
            return [names[paths[str(video)]] for video in videos]
        for path in same:
            levels[path] += 1


def _absolute(video: str) -> PurePosixPath | Path:
    """Path without ``..``; that of a URL begins with its query and its host."""
    if '://' not in video:
        # Not of what a link points to: its name is the one that was given.
        return Path(video).parent.resolve() / Path(video).name
    url = urlsplit(video)
    query = re.sub(r'[^\w=.-]', '_', url.query)[:MAX_QUERY]
    parts = [part for part in PurePosixPath(unquote(url.path)).parts if part not in ('/', '..')]
    return PurePosixPath('/', query, url.netloc.replace(':', '_'), *parts)


def _name(path: PurePosixPath | Path, level: int) -> str:
    """The file name without suffix; at level 1 with it; at higher levels after ``level - 1`` parent directories."""
    return path.stem if level == 0 and path.stem.strip('.') else '/'.join(path.parts[1:][-level:])

"""Choose and check the checkpoint from which a training is resumed, before the clips are read."""
import re
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from mmavs.checkpoint.reading import read_checkpoint
from mmavs.utils.files import natural_order

from .resumed_state import check_training_state

POINTER = 'last_checkpoint'
# Longer contents of the pointer are no path.
MAX_PATH_BYTES = 4096


def choose_checkpoint(config: Config) -> None:
    """Set ``load_from`` of a resumed training to a checkpoint that is whole and holds the state of the training.

    Without ``load_from`` it is the one that ``last_checkpoint`` in the work directory names, or, if that is damaged,
    the newest whole one before it.

    Args:
        config: Config of a training with ``resume=True``, changed in place.

    Raises:
        FileNotFoundError: No checkpoint can be resumed.
        ValueError: ``last_checkpoint`` is no path, all checkpoints are damaged, or one lacks a state that the training
            needs.
    """
    if config.get('load_from'):
        if '://' not in str(config.load_from):  # URLs are read by the runner
            check_training_state(read_checkpoint(config.load_from), str(config.load_from), config)
        return
    newest = last_checkpoint(Path(config.work_dir))
    candidates, reasons = [newest, *_before(newest)], []
    for path in candidates:
        try:
            checkpoint = read_checkpoint(path)
        except (ValueError, FileNotFoundError) as error:
            reasons.append(f'{error}')
            continue
        check_training_state(checkpoint, str(path), config)
        if reasons:
            print_log(f'{reasons[0]}. Resumed from the checkpoint before it, {path}', 'current', 30)
        config.load_from = str(path)
        return
    raise ValueError(f'no checkpoint of {config.work_dir} can be read: {reasons[0]}; start anew, in another work '
                     'directory or without --resume')


def last_checkpoint(work_dir: Path) -> Path:
    """Return the checkpoint that ``last_checkpoint`` names, also if the directory has been moved.

    Raises:
        FileNotFoundError: There is no ``last_checkpoint``.
        ValueError: It is no path.
    """
    pointer = work_dir / POINTER
    found = [path for path in work_dir.glob('*_*.pth') if not path.name.startswith('best_')]
    # Files that are written one after the other may have the same time.
    found.sort(key=lambda path: (path.stat().st_mtime, natural_order(path)))
    advice = f'name the checkpoint: --resume {found[-1]}' if found else 'start the training without --resume'
    if not pointer.is_file():
        raise FileNotFoundError(f'--resume: {work_dir} has no {POINTER}: {advice}')
    with pointer.open('rb') as file:
        content = file.read(MAX_PATH_BYTES).strip()
    try:
        name = content.decode()
    except UnicodeDecodeError:
        name = ''
    if not name or not name.isprintable():
        raise ValueError(f'--resume: {pointer} is {"damaged" if content else "empty"}, expected the path of a '
                         f'checkpoint: {advice}')
    path = Path(name)
    try:
        return path if path.is_file() else work_dir / path.name
    except OSError as error:  # a name that is too long
        raise ValueError(f'--resume: {pointer} is damaged ({error.strerror}), expected the path of a checkpoint: '
                         f'{advice}') from error


def _before(newest: Path) -> list[Path]:
    """Earlier checkpoints of the same name pattern in the directory, the newest first."""
    match = re.fullmatch(r'(.*?)(\d+)(\.\w+)', newest.name)
    if match is None:
        return []
    prefix, number, suffix = match.groups()
    steps = {}
    for path in newest.parent.glob('*'):
        other = re.fullmatch(rf'{re.escape(prefix)}(\d+){re.escape(suffix)}', path.name)
        if other and int(other[1]) < int(number):
            steps[int(other[1])] = path
    return [steps[step] for step in sorted(steps, reverse=True)]

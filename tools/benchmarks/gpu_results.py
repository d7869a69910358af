"""The results of the GPU check: one JSON file that is complete at any time."""
import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class SkippedError(Exception):
    """A step cannot run here; the message says why."""


class Results:
    """The file of results, written as a whole by each update.

    It holds ``stamp``, what is true for all steps, and ``steps``: for each its ``status`` ('ok', 'failed', 'timeout',
    'skipped' or 'not run'), the ``reason`` unless it is 'ok', ``seconds``, and what the step found.

    Args:
        file: The JSON file; an existing one is continued.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> dict:
        return json.loads(self.file.read_text()) if self.file.exists() else dict(stamp={}, steps={})

    def stamp(self, **values: object) -> None:
        """Add to what is true for all steps: the machine, versions, the command."""
        results = self.read()
        results['stamp'].update(values)
        self._write(results)

    def update(self, step: str, **values: object) -> None:
        """Add to, or replace, what is known of a step."""
        results = self.read()
        results['steps'].setdefault(step, {}).update(values)
        self._write(results)

    def _write(self, results: dict) -> None:
        temporary = self.file.with_suffix('.tmp')
        temporary.write_text(json.dumps(results, indent=1) + '\n')
        temporary.replace(self.file)


def one_line(error: BaseException) -> str:
    """The type of an error and the beginning of its message."""
    return ' '.join(f'{type(error).__name__}: {error}'.split())[:400]

"""Strict JSON in the logs of MMEngine."""
from typing import Any, TextIO

from mmengine.fileio import register_handler
from mmengine.fileio.handlers import JsonHandler

from mmavs.utils.json_files import without_nan


@register_handler('json')
class StrictJsonHandler(JsonHandler):
    """Write null for NaN in the files of MMEngine: ``scalars.json`` of a run and the scores of a test."""

    def dump_to_fileobj(self, obj: Any, file: TextIO, **kwargs: Any) -> None:
        """Write an object to an open file."""
        super().dump_to_fileobj(without_nan(obj), file, **kwargs)

    def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
        """Format an object."""
        return super().dump_to_str(without_nan(obj), **kwargs)

"""List the models of the zoo as a table."""
import io
from collections.abc import Iterable
from fnmatch import fnmatch

from rich.console import Console
from rich.table import Table

from .zoo import ModelInfo, find_model, read_zoo

# Columns of the printed table, enough for the longest names.
WIDTH = 172
# Kind of published weights -> where they are.
HOSTS = dict(HuggingFace='Hugging Face', URL='URL', GoogleDrive='Google Drive', Page='page')


class ModelList(list):
    """Names of models, printed as a table of configs, sizes and published numbers."""

    def table(self) -> Table:
        """Return a table with a row for each model."""
        table = Table(
            'model', 'method', 'trained on', 'params (M)', 'GFLOPs', 'published', 'protocol', 'source', 'weights',
            '--from',
            caption=f'{len(self)} models. GFLOPs: prediction of 5 frames, 2 for each multiply-add. Published numbers '
            'are those of the authors in percent; numbers of different protocols are not comparable. Weights: '
            "where the authors' checkpoint is; 'mmavs download MODEL' fetches and converts it, except one on a page. "
            '--from: its name in mmavs convert.')
        for column in table.columns:
            column.overflow = 'fold'  # wraps long cells, so that nothing is cut off
        for column in table.columns[:3]:
            column.no_wrap = True
        for column in table.columns[3:5]:
            column.justify = 'right'
        for name in self:
            table.add_row(*_row(find_model(name)))
        return table

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=WIDTH)
        console.print(self.table())
        return console.file.getvalue()

    __repr__ = __str__


def list_models(pattern: str | Iterable[str] | None = None) -> ModelList:
    """List the names of the models of the zoo; the list prints as a table.

    Args:
        pattern: A pattern of names with ``*`` and ``?``, for example 'vct_*_avss', or several; None for all models.

    Returns:
        A list of names for :func:`mmavs.apis.get_model` and :func:`mmavs.apis.init_model`.
    """
    patterns = ['*'] if pattern is None else [pattern] if isinstance(pattern, str) else list(pattern)
    return ModelList(name for name in read_zoo() if any(fnmatch(name, pattern) for pattern in patterns))


def _row(info: ModelInfo) -> list[str]:
    return [
        info.name,
        info.method,
        info.training_data,
        '' if info.parameters is None else f'{info.parameters / 1e6:.1f}',
        '' if info.flops is None else f'{info.flops / 1e9:.0f}',
        '\n'.join(', '.join(f'{key} {value}' for key, value in result.metrics.items()) for result in info.results),
        '\n'.join(result.protocol for result in info.results),
        '\n'.join(result.source for result in info.results),
        ', '.join(HOSTS[weights.kind] for weights in info.weights if weights.is_published),
        ', '.join(weights.converter for weights in info.weights if weights.converter),
    ]

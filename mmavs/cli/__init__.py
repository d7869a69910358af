"""The ``mmavs`` command: one module per sub-command."""
from .command import main, run_tool

__all__ = ['main', 'run_tool']

"""``python -m mmavs``, the same as the command ``mmavs``."""
from .cli import main

main()

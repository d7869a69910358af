"""``python -m mmavs``, the same as the command ``mmavs``."""
from .cli import main

if __name__ == '__main__':
    main()

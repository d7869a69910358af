"""The directory of what mmavs keeps between runs."""
from pathlib import Path


def cache_directory() -> Path:
    """Return ``mmavs`` in PyTorch's cache: by default ``~/.cache/torch/hub/mmavs``, elsewhere with ``TORCH_HOME``."""
    import torch  # takes seconds, which the command line has no use for

    return Path(torch.hub.get_dir()) / 'mmavs'

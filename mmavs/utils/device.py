"""Choose the device of a model."""
import torch


def select_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device of a name, or by default the GPU if there is one, else the CPU.

    Args:
        device: For example 'cpu', 'cuda' or 'cuda:1'; None: the default.

    Raises:
        ValueError: There is no such device, or PyTorch cannot use it.
    """
    if device is None:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        return torch.empty(0, device=device).device
    # A PyTorch without CUDA raises the second one.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device is '{device}', which PyTorch cannot use here ({reason}): expected 'cpu', or "
                         "'cuda' or 'cuda:0' on a machine with such a GPU") from error

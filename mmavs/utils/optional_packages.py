"""Import packages that only some uses need; if one is missing, say how to install it."""
import shlex
from importlib import import_module
from types import ModuleType


def optional_import(module: str, purpose: str, requirement: str | None = None) -> ModuleType:
    """Import a module of a package of ``requirements/optional.txt`` or of an extra (``requirements/ray.txt``).

    Call it where the package is used, not at the top of a file.

    Args:
        module: Name of the module, for example 'safetensors.torch'.
        purpose: The use that needs the package; begins the message, for example 'reading a safetensors file'.
        requirement: Argument of ``pip install``, for example 'transformers>=5'; None: the package of the module.

    Raises:
        ImportError: The package is not installed, or its import fails; the message, one line, names the command that
            installs it.
    """
    package = module.partition('.')[0]
    install = shlex.quote(requirement or package)
    try:
        return import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise ImportError(f'{purpose} needs the package {package}, which is not installed: '
                              f'pip install {install}') from error
        reason = ' '.join(str(error).split())
        raise ImportError(f'{purpose} needs the package {package}, whose import fails ({reason}): '
                          f'pip install --upgrade {install}') from error

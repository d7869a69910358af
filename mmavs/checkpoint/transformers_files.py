"""Read models that the library transformers has saved in a local directory."""
from pathlib import Path
from typing import Any

from mmavs.utils.json_files import read_json

from .reading import extract_state_dict, read_checkpoint


def check_saved_model(directory: str | Path, kind: str) -> None:
    """Check the files of a model before the library reads them.

    Args:
        directory: Directory with ``config.json`` and ``model.safetensors``, as the library saves it.
        kind: What is expected there, for messages: 'an AST'.

    Raises:
        FileNotFoundError: The directory or one of its files does not exist.
        ValueError: A file is damaged, or weights are not finite.
    """
    for name in ('config.json', 'model.safetensors'):
        if not Path(directory, name).is_file():
            raise FileNotFoundError(f'{directory}: no {name} there, expected a local directory with {kind} as '
                                    'transformers saves it (config.json, model.safetensors)')
    read_json(Path(directory, 'config.json'), f'the config of {kind}', ('model_type', ))
    weights = Path(directory, 'model.safetensors')
    extract_state_dict(read_checkpoint(weights), str(weights))


def load_pretrained(loader: Any, directory: str | Path, kind: str, **options: Any) -> Any:
    """Call ``loader.from_pretrained`` on a directory of :func:`check_saved_model`; nothing is downloaded or run.

    Args:
        loader: Config or model of the library.
        directory: The directory.
        kind: What is expected there, for messages.
        options: Further arguments of ``from_pretrained``.

    Raises:
        ValueError: The library cannot load what is there.
    """
    try:
        return loader.from_pretrained(str(directory), local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:  # the library raises many kinds, without the name of the directory
        reason = str(error).strip().partition('\n')[0] or type(error).__name__
        raise ValueError(f'{directory}: transformers cannot load {kind} from there ({reason}): save it again, with '
                         'save_pretrained') from error

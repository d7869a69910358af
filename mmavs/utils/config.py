"""Read configs, and find mistakes in them before anything is built."""
import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import IO, Any

from mmengine import registry as root
from mmengine.config import Config
from mmengine.fileio import YamlHandler, register_handler
from mmengine.registry import Registry, init_default_scope
from torch.utils.data import DataLoader

from .config_aliases import CONFIG_ALIASES
from .monitored_metrics import complete_rules
from .yaml_files import parse_yaml
from .zoo import config_path

# Packages whose constructors take the arguments that configs state.
CHECKED_PACKAGES = ('mmavs.', 'mmcv.transforms.', 'mmengine.', 'mmpretrain.', 'mmseg.', 'torch.optim.')
# Keys that are read before the constructor is called: of the config language, by the constructor of the optimizer, of
# schedulers.
LANGUAGE_KEYS = {'type', '_scope_', '_delete_', '_base_'}
CONSUMED_KEYS = LANGUAGE_KEYS | {'priority', 'init_cfg', 'constructor', 'paramwise_cfg', 'convert_to_iter_based'}
# Keys of a data loader that the runner reads beside the arguments of torch's DataLoader.
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
DATALOADER_KEYS = {*inspect.signature(DataLoader).parameters, 'num_batch_per_epoch'}
# Arguments of torch's DataLoader that concern its workers; it refuses them if there is none.
WORKER_KEYS = ('persistent_workers', 'prefetch_factor', 'timeout', 'multiprocessing_context')
# Seconds after which a worker that delivers no batch ends the run. Processes that wait for the others through NCCL give
# up after 600 s, and could not say which worker it is.
LOADER_TIMEOUT = 540
RUNNER_KEYS = (
    'model', 'work_dir', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg', 'test_cfg',
    'optim_wrapper', 'param_scheduler', 'val_evaluator', 'test_evaluator', 'default_hooks', 'custom_hooks',
    'data_preprocessor', 'load_from', 'resume', 'launcher', 'env_cfg', 'log_processor', 'log_level', 'visualizer',
    'vis_backends', 'default_scope', 'randomness', 'experiment_name', 'auto_scale_lr', 'model_wrapper_cfg')
# Types of the sections that are read before the runner is built.
SECTION_KINDS = dict.fromkeys(
    ('model', *DATALOADERS, 'train_cfg', 'optim_wrapper', 'default_hooks', 'env_cfg'), dict) | dict(
        default_scope=str, custom_hooks=list | tuple, param_scheduler=dict | list | tuple)


@register_handler(['yaml', 'yml'])
class SafeYamlHandler(YamlHandler):
    """Read YAML without running code, in place of MMEngine's reader: a Python config may have a YAML file as base."""

    def load_from_fileobj(self, file: IO, **kwargs: Any) -> Any:
        """Read a file as plain data."""
        return parse_yaml(file)


class ConfigError(ValueError):
    """Config that cannot be read, or has unknown components or keys; the message names the file and the key."""


def load_config(filename: str, options: dict | None = None) -> Config:
    """Read a config and check it.

    Data loaders with ``num_workers=0`` lose the options of workers, others get a ``timeout`` of ``LOADER_TIMEOUT``
    seconds unless they state one, and hooks and schedulers that follow a metric get
    its ``rule`` (:func:`mmavs.utils.monitored_metrics.complete_rules`).

    Args:
        filename: A config file, or the name of a model of the zoo.
        options: Values that replace those of the file, keyed by dotted names ('train_cfg.max_iters').

    Raises:
        ConfigError: The model is not in the zoo, the file is no Python file, it or one of its ``_base_`` files is
            missing or is not valid Python, or :func:`check_config` or
            :func:`~mmavs.utils.monitored_metrics.complete_rules` finds a mistake.
    """
    try:
        filename = config_path(filename)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not str(filename).endswith('.py'):
        raise ConfigError(f'{filename}: expected a Python config (.py); YAML and JSON are not read as configs: they '
                          'look like plain data, but may import and run Python files')
    try:
        config = Config.fromfile(filename)
    except Exception as error:
        raise ConfigError(f'{filename}: {type(error).__name__}: {error}{_renamed_base(error)}') from error
    if options:
        try:
            config.merge_from_dict(options)
        except (KeyError, TypeError, IndexError) as error:
            raise ConfigError(f'{filename} with {options}: {error}') from error
    if problems := list(_check_sections(config)):
        raise ConfigError('\n'.join(f'{filename}: {problem}' for problem in problems))
    init_default_scope(config.get('default_scope') or 'mmavs')
    _drop_delete_keys(list(config.values()))
    _complete_loaders(config)
    problems = list(check_config(config)) or list(complete_rules(config, _find_component))
    if problems:
        raise ConfigError('\n'.join(f'{filename}: {problem}' for problem in problems))
    return config


def _drop_delete_keys(node: Any) -> None:
    """Remove ``_delete_`` from dicts that replaced nothing, where MMEngine leaves it."""
    if isinstance(node, dict):
        node.pop('_delete_', None)
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ():
        _drop_delete_keys(child)


def _complete_loaders(config: Config) -> None:
    """Remove the options of workers from data loaders without workers; give the others a time-out."""
    for key in DATALOADERS:
        loader = config.get(key)
        if isinstance(loader, dict) and not loader.get('num_workers'):
            for option in WORKER_KEYS:
                loader.pop(option, None)
        elif isinstance(loader, dict):
            loader.setdefault('timeout', LOADER_TIMEOUT)


def _renamed_base(error: Exception) -> str:
    """The present name of a missing file in ``_base_``, which MMEngine reads by itself."""
    name = Path(error.filename or '').stem if isinstance(error, FileNotFoundError) else ''
    return f' (it is now called {CONFIG_ALIASES[name]}.py)' if name in CONFIG_ALIASES else ''


def check_config(config: Config) -> Iterator[str]:
    """Yield a message for each mistake in a config: unknown components, unknown arguments, misspelt sections.

    Variables that only help to write the config are not checked: the runner does not read them.
    """
    yield from _check_sections(config)
    for key, value in config.items():
        if key not in RUNNER_KEYS:
            for meant in get_close_matches(key, RUNNER_KEYS, n=1, cutoff=0.85):
                yield f'{key} is not read by the runner: did you mean {meant}?'
        if key in DATALOADERS and isinstance(value, dict):
            for argument in value.keys() - DATALOADER_KEYS:
                yield f'{key}.{argument}: a data loader takes no such argument{_suggest(argument, DATALOADER_KEYS)}'
    read = {key: value for key, value in config.to_dict().items() if key in RUNNER_KEYS}
    yield from _check_components(read, '')


def _check_sections(config: Config) -> Iterator[str]:
    for key, kind in SECTION_KINDS.items():
        if not isinstance(config.get(key), kind | None):
            yield f'{key} is {config[key]!r}, expected a {getattr(kind, "__name__", kind)}'


def _check_components(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, dict):
        name = node.get('type')
        if isinstance(name, str):
            component = _find_component(name)
            if not callable(component):
                yield f'{path}.type is {name!r}, which no registry holds{_suggest(name, _known_names())}'
            else:
                yield from _check_arguments(component, node, path)
        children = node.items()
    elif isinstance(node, list | tuple):
        children = enumerate(node)
    else:
        return
    for key, value in children:
        yield from _check_components(value, f'{path}.{key}' if path else str(key))


def _check_arguments(component: Any, node: dict, path: str) -> Iterator[str]:
    if not component.__module__.startswith(CHECKED_PACKAGES):
        return
    parameters = _parameters(component)
    if parameters is None:
        return
    for key in node.keys() - parameters - CONSUMED_KEYS:
        yield f'{path}.{key}: {component.__name__} takes no such argument{_suggest(key, parameters)}'


def _parameters(component: Any) -> set[str] | None:
    """List the arguments of a constructor and, if it passes ``**kwargs`` on, of those it inherits.

    None if it takes any: the last constructor has ``**kwargs``, or one has its own use for them (TIMMBackbone).
    """
    if not inspect.isclass(component):
        constructors = [component]
    else:
        constructors = [vars(owner)['__init__'] for owner in component.__mro__ if '__init__' in vars(owner)]
    names = set()
    for constructor in constructors[:-1] if constructors[-1] is object.__init__ else constructors:
        parameters = inspect.signature(constructor).parameters.values()
        names.update(parameter.name for parameter in parameters)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return names - {'self'}
        if not _passes_on_kwargs(constructor):
            return None
    return None


@cache
def _passes_on_kwargs(constructor: Callable) -> bool:
    """Whether a constructor calls an inherited one with ``**kwargs``; True if its source is not known."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(constructor))))
    except (OSError, TypeError, SyntaxError):
        return True
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(getattr(call.func, 'attr', None) == '__init__' and any(keyword.arg is None for keyword in call.keywords)
               for call in calls)


def _suggest(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = get_close_matches(name, known, n=3, cutoff=0.6)
    return f': did you mean {" or ".join(close)}?' if close else f', expected one of {", ".join(known[:20])}'


@cache
def _registries() -> list[Registry]:
    """List MMEngine's root registries, through which those of mmavs, mmseg and mmpretrain are found."""
    return [value for value in vars(root).values() if isinstance(value, Registry)]


def _find_component(name: str) -> Any:
    for registry in _registries():
        with registry.switch_scope_and_registry(None) as scoped:
            component = _look_up(scoped, name)
        if component is not None:
            return component
    return None


def _look_up(registry: Registry, name: str) -> Any:
    """Return the component that ``registry.get(name)`` returns, None if there is none."""
    if '.' in name:
        try:
            return registry.get(name)
        except (RuntimeError, TypeError, ValueError):  # MMEngine imports names with dots, which may be no names
            return None
    # Registry.get would search the disk for a module of that name, which takes most of the time of reading a config.
    registry.import_from_location()
    while registry is not None and name not in registry.module_dict:
        registry = registry.parent
    return registry and registry.module_dict[name]


def _known_names() -> list[str]:
    """List the names that configs of mmavs may use without a prefix."""
    names = set()
    for registry in _registries():
        with registry.switch_scope_and_registry(None) as scoped:
            names.update(scoped.module_dict, registry.module_dict)
    return sorted(names)


def find_clip_dataset(config: Config, split: str) -> tuple[str, Mapping]:
    """Find the config of the clip dataset of a data loader inside its wrappers.

    Args:
        config: The config.
        split: 'train', 'val' or 'test'.

    Returns:
        Its dotted name, such as 'train_dataloader.dataset', and its config; the config is empty without such a data
        loader. Of several concatenated datasets the first.
    """
    key, dataset = f'{split}_dataloader.dataset', (config.get(f'{split}_dataloader') or {}).get('dataset') or {}
    while 'pipeline' not in dataset:
        if 'dataset' in dataset:
            key, dataset = f'{key}.dataset', dataset['dataset']
        elif dataset.get('datasets'):
            key, dataset = f'{key}.datasets.0', dataset['datasets'][0]
        else:
            break
    return key, dataset


def dataset_metainfo(config: Config, split: str) -> dict:
    """Return the metainfo of the clip dataset of a data loader: classes, palette, events, clip length.

    Args:
        config: The config.
        split: 'train', 'val' or 'test'.

    Returns:
        The entries of the dataset's class and of its config; empty without such a data loader.
    """
    _, dataset = find_clip_dataset(config, split)
    if 'type' not in dataset:
        return {}
    with root.DATASETS.switch_scope_and_registry('mmavs') as registry:
        own = getattr(registry.get(dataset['type']), 'METAINFO', {})
    return {**own, **(dataset.get('metainfo') or {})}


def metric_configs(config: Config) -> list[dict]:
    """Return the configs of the metrics of the test, of which a config states one or a list."""
    return config.test_evaluator if isinstance(config.test_evaluator, list) else [config.test_evaluator]

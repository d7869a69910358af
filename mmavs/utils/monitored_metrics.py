"""Names and rules of the metrics that hooks and schedulers follow, checked against the evaluator of a config."""
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config

# Arguments that name a metric: of checkpoint hooks; of early stopping and of schedulers that wait for a plateau.
METRIC_KEYS = ('save_best', 'monitor')


def complete_rules(config: Config, find_component: Callable[[str], Any]) -> Iterator[str]:
    """Check the metrics that hooks and schedulers follow, and fill in the ``rule`` of those that state none.

    A metric class declares its results in the class attribute ``reported``: name -> 'greater' or 'less', whichever is
    better, or None for a result without such an order. Results of a metric without this attribute are not checked.

    Args:
        config: The config, changed in place.
        find_component: Registered name -> class.

    Yields:
        A message for each name that the evaluator does not report and each rule that is the wrong way round.
    """
    reported = _reported_metrics(config.get('val_evaluator'), find_component)
    if reported is None:
        return
    for path, node in _followers(config):
        for key in METRIC_KEYS:
            # A loss, which schedulers may follow, is logged and not reported by the evaluator.
            if node.get(key) and 'loss' not in str(node[key]):
                yield from _complete(node, key, path, reported)


def _complete(node: dict, key: str, path: str, reported: dict[str, str | None]) -> Iterator[str]:
    names = node[key] if isinstance(node[key], list | tuple) else [node[key]]
    rules = []
    for stated in names:
        name = next(iter(reported), None) if stated == 'auto' else stated
        if name not in reported:
            close = get_close_matches(str(stated), reported, n=3, cutoff=0.4)
            listed = f'did you mean {" or ".join(close)}? It reports' if close else 'it reports'
            yield f"{path}.{key} is {stated!r}, which val_evaluator does not report: {listed} {', '.join(reported)}"
            continue
        better, rule = reported[name], node.get('rule')
        if better is None and rule is None:
            yield f"{path}.rule is not set, and {name} has no better direction: set 'greater' or 'less'"
        elif isinstance(rule, str) and better not in (None, rule):
            yield f'{path}.rule is {rule!r}, but {name} is better if it is {better}: set {better!r}, or leave rule out'
        rules.append(better)
    if len(rules) == len(names) and node.get('rule') is None:
        node['rule'] = rules[0] if len(rules) == 1 else rules


def _reported_metrics(evaluator: Any, find_component: Callable[[str], Any]) -> dict[str, str | None] | None:
    """Map the names of all results, with prefix, to their better direction; None if a metric does not declare them."""
    metrics = evaluator if isinstance(evaluator, list | tuple) else [evaluator]
    results = {}
    for metric in metrics:
        if not isinstance(metric, dict) or not isinstance(metric.get('type'), str):
            return None
        component = find_component(metric['type'])
        reported = getattr(component, 'reported', None)
        if reported is None:
            return None
        prefix = metric.get('prefix') or component.default_prefix
        results.update({f'{prefix}/{name}' if prefix else name: better for name, better in reported.items()})
    return results


def _followers(config: Config) -> Iterator[tuple[str, dict]]:
    """Yield hooks and schedulers with their dotted names."""
    hooks, schedulers = config.get('default_hooks') or {}, config.get('param_scheduler') or []
    nodes = [(f'default_hooks.{name}', hook) for name, hook in hooks.items()]
    nodes += [(f'custom_hooks.{i}', hook) for i, hook in enumerate(config.get('custom_hooks') or [])]
    if isinstance(schedulers, dict):
        nodes.append(('param_scheduler', schedulers))
    else:
        nodes += [(f'param_scheduler.{i}', scheduler) for i, scheduler in enumerate(schedulers)]
    yield from ((path, node) for path, node in nodes if isinstance(node, dict))

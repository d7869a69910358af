"""Tables of the comparison of methods, made of the metafiles and of the measured costs."""
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from repository_links import DOCS, ROOT, config_page

from mmavs.analysis.method_costs import MethodCost
from mmavs.utils.zoo import ModelInfo

COSTS = DOCS / 'reference/method_costs.json'
#: Subset of a config's name -> the heading of its column.
SUBSETS = {'s4': 'S4', 'ms3': 'MS3', 'avss': 'AVSS', 'vpo-ss': 'VPO-SS', 'vpo-ms': 'VPO-MS', 'vpo-msmi': 'VPO-MSMI'}
#: Protocol -> the subsets that are scored with it, and the metrics of a cell.
PROTOCOLS = {'avsbench': (('s4', 'ms3', 'avss'), ('M_J', 'M_F')), 'dataset': (tuple(SUBSETS), ('J&F', ))}
#: Backbone of a config's name -> the heading of its row.
BACKBONES = {
    'r50': 'ResNet-50', 'pvt-v2-b5': 'PVTv2-B5', 'swin-b': 'Swin-B', 'swin-l': 'Swin-L', 'convnext-b': 'ConvNeXt-B',
    'dinov2-b': 'DINOv2-B', 'dinov3-b': 'DINOv3-B', 'dinov3-l': 'DINOv3-L', 'eva02-b': 'EVA-02-B'}
NAME = re.compile(r'[^_]+_(?P<backbone>.+?)(-(224|384|512))?_(?P<subset>s4|ms3|avss|vpo-\w+?)(?P<variant>_.+)?')

Row = dict[str, ModelInfo]  # the models of the same recipe by subset


def recipes(models: Mapping[str, ModelInfo]) -> dict[str, Row]:
    """Recipe, the name of a model without its subset -> its models by subset."""
    rows = defaultdict(dict)
    for name, info in models.items():
        match = NAME.fullmatch(name)
        rows[name[:match.start('subset')].strip('_') + (match['variant'] or '')][match['subset']] = info
    return rows


def protocol_of(info: ModelInfo, models: Iterable[ModelInfo]) -> str:
    """Protocol of a model: that of its published scores, else that of its method, and of whole datasets on VPO."""
    if 'vpo' in info.name:
        return 'dataset'
    same_method = (x for x in models if x.method == info.method and x.results)
    return next(result.protocol for x in (info, *same_method) for result in x.results)


def published_table(models: Mapping[str, ModelInfo], costs: Mapping[str, MethodCost], protocol: str) -> list[str]:
    """Lines of the table of the published scores of one protocol, a row for each recipe."""
    subsets, metrics = PROTOCOLS[protocol]
    head = ['recipe', 'backbone', 'size', *(SUBSETS[x] for x in subsets), "authors' checkpoint", 'parity']
    lines = table_head(head, len(head))
    chosen = {name: info for name, info in models.items() if protocol_of(info, models.values()) == protocol}
    for recipe, row in recipes(chosen).items():
        infos = list(row.values())
        lines.append(table_row([
            recipe, BACKBONES[NAME.fullmatch(infos[0].name)['backbone']], sizes(infos, costs),
            *(score(row[x], protocol, metrics) if x in row else '' for x in subsets),
            named({SUBSETS[x]: info.weights[0].is_published for x, info in row.items() if info.weights}),
            '<br>'.join(f'{SUBSETS[x]}: {info.parity}' for x, info in row.items() if info.parity)]))
    return lines


def costs_table(models: Mapping[str, ModelInfo], costs: Mapping[str, MethodCost]) -> list[str]:
    """Lines of the table of measured costs, a row for each recipe and for subsets whose numbers differ."""
    head = ['recipe', 'subsets', 'size', 'parameters (M)', 'without audio encoder', 'without mask prior',
            'without either', 'GFLOPs', 's per frame', 'fastest, slowest', 'peak memory (MiB)']
    lines = table_head(head, 2)
    for recipe, row in recipes(models).items():
        groups = defaultdict(list)
        for subset, info in row.items():
            groups[tuple(cost_cells(info, costs[info.name]))].append(SUBSETS[subset])
        lines += [table_row([recipe, ', '.join(subsets), *cells]) for cells, subsets in groups.items()]
    stamps = sorted({cost.timing.stamp for cost in costs.values() if cost.timing})
    return [*lines, '', *(f'Times and memory: {stamp}.\n' for stamp in stamps)]


def cost_cells(info: ModelInfo, cost: MethodCost) -> list[str]:
    """Cells of a model in the table of costs, from its size on."""
    prior, total, timing = cost.mask_prior, cost.parameters, cost.timing
    return [
        side(cost), millions(total), millions(total - cost.audio_backbone), millions(total - prior) if prior else '',
        millions(total - cost.audio_backbone - prior) if prior else '', f'{info.flops / 1e9:.0f}',
        *(('', '', '') if timing is None else (f'{timing.seconds_per_frame:.3f}',
                                              f'{timing.fastest:.3f}, {timing.slowest:.3f}', f'{timing.peak_mib:.0f}'))]


def score(info: ModelInfo, protocol: str, metrics: Iterable[str]) -> str:
    """Published scores of a model, with a link to its config."""
    file = info.config.resolve().relative_to(ROOT)
    numbers = [x.metrics for x in info.results if x.protocol == protocol]
    text = '<br>'.join(' / '.join(f'{x[key]}' for key in metrics if key in x) for x in numbers)
    return f"[{text or 'none'}](/generated/configs/{config_page(file)}.md#{file.stem})"


def named(flags: Mapping[str, bool]) -> str:
    return ', '.join(name for name, flag in flags.items() if flag) or 'none'


def sizes(infos: Iterable[ModelInfo], costs: Mapping[str, MethodCost]) -> str:
    return ', '.join(dict.fromkeys(side(costs[info.name]) for info in infos))


def side(cost: MethodCost) -> str:
    height, width = cost.size
    return f'{height}' if height == width else f'{height}x{width}'


def millions(number: int) -> str:
    return f'{number / 1e6:.1f}'


def table_head(cells: list[str], num_left: int) -> list[str]:
    """Two lines of a table whose columns beyond the first ones are aligned to the right."""
    return [table_row(cells), '|' + '|'.join('---' if i < num_left else '--:' for i in range(len(cells))) + '|']


def table_row(cells: Iterable[str]) -> str:
    return '| ' + ' | '.join(cells) + ' |'

"""The zoo: the metafiles tell the truth about the configs, and models are found by name."""
import hashlib
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from modelindex.load_model_index import load

from mmavs.analysis.complexity import build_outline, count_parameters, model_complexity
from mmavs.analysis.method_costs import compared_models, read_costs
from mmavs.apis import get_model, init_model, list_models
from mmavs.checkpoint.converters import CONVERTERS
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.utils import zoo
from mmavs.utils.config import ConfigError, load_config
from mmavs.utils.config_aliases import CONFIG_ALIASES
from mmavs.utils.published import read_published
from mmavs.utils.zoo import config_path, find_model, read_yaml, read_zoo, zoo_root

REPOSITORY = Path(__file__).parents[1]
METAFILES = sorted(REPOSITORY.glob('configs/*/metafile.yml'))
FILL = 'run tools/analysis_tools/get_flops.py --metafile'
DATASETS = {'AVSBench-S4', 'AVSBench-MS3', 'AVSBench-semantic', 'VPO-SS', 'VPO-MS', 'VPO-MSMI'}
METRICS = {'avsbench': {'M_J', 'M_F'}, 'dataset': {'mIoU', 'F', 'FDR', 'J&F'}}
ORIGIN_KEYS = {'Code', 'Weights', 'Converter'}


def recipes(directory: Path) -> set[str]:
    """The configs of a method for published datasets; those for synthetic clips are named tiny or stamps."""
    return {str(path.relative_to(REPOSITORY)) for path in directory.rglob('*.py')
            if '_tiny_' not in path.name and '_stamps-' not in path.name}


def entries(metafile: Path) -> list[dict]:
    return read_yaml(metafile)['Models']


def test_every_method_is_in_the_index():
    directories = {path.parent for path in REPOSITORY.glob('configs/*/*.py') if path.parent.name != '_base_'}
    without = sorted(str(directory.relative_to(REPOSITORY)) for directory in directories
                     if recipes(directory) and not (directory / 'metafile.yml').exists())
    assert not without, f'write a metafile.yml in {without}'
    listed = read_yaml(REPOSITORY / 'model-index.yml')['Import']
    assert sorted(listed) == [str(path.relative_to(REPOSITORY)) for path in METAFILES], 'put it into model-index.yml'


def test_openmmlab_s_reader_takes_the_index():
    index = load(str(REPOSITORY / 'model-index.yml'))
    index.build_models_with_collections()
    assert [model.name for model in index.models] == list(read_zoo())
    # It looks for READMEs beside the metafile, where OpenMMLab's metafiles name them from the root.
    assert [problem for problem in index.check(silent=True) if 'Path to README' not in problem] == []


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda path: path.parent.name)
def test_metafile_has_an_entry_for_every_recipe(metafile):
    listed = [entry['Config'] for entry in entries(metafile)]
    expected = recipes(metafile.parent)
    assert not expected - {*listed}, f'{metafile}: no entry for these configs'
    assert not {*listed} - expected, f'{metafile}: entries for configs that do not exist'
    assert len(listed) == len({*listed}), f'{metafile}: two entries for one config'


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda path: path.parent.name)
def test_entries_are_complete(metafile):
    collections = read_yaml(metafile)['Collections']
    problems = []
    for collection in collections:
        if not collection.get('Paper', {}).keys() & {'Title', 'URL'}:
            problems.append(f"{collection['Name']}: a collection needs its Paper, with Title or URL")
        if not (REPOSITORY / collection.get('README', '.')).is_file():
            problems.append(f"{collection['Name']}: a collection needs its README, a file")
    for entry in entries(metafile):
        name = entry['Name']
        if name != Path(entry['Config']).stem:
            problems.append(f"{name}: is to be named as its config, {entry['Config']}")
        if entry['In Collection'] not in {collection['Name'] for collection in collections}:
            problems.append(f"{name}: there is no collection {entry['In Collection']}")
        metadata = entry.get('Metadata', {})
        if metadata.get('Training Data') not in DATASETS:
            problems.append(f"{name}: Training Data is {metadata.get('Training Data')}, expected one of {DATASETS}")
        for key in ('Parameters', 'FLOPs'):
            if not isinstance(metadata.get(key), int):
                problems.append(f'{name}: Metadata lacks {key}: {FILL} {metafile.relative_to(REPOSITORY)}')
        if bool(entry.get('Results')) == bool(entry.get('Unpublished')):
            problems.append(f'{name}: needs either Results, or Unpublished: why no number is published')
        for result in entry.get('Results', ()):
            if result.get('Dataset') not in DATASETS or not result.get('Source') or not result.get('Metrics'):
                problems.append(f'{name}: a result needs Dataset (one of {DATASETS}), Metrics and Source: {result}')
            if not result['Metrics'].keys() <= METRICS.get(result.get('Protocol'), set()):
                problems.append(f'{name}: a result needs a Protocol and its metrics, {METRICS}: {result}')
            if not all(0 < value <= 100 for value in result['Metrics'].values()):
                problems.append(f'{name}: metrics are in percent: {result}')
        origin = entry.get('Converted From')
        if origin is None:
            continue
        if origin.keys() - {'Parity'} != ORIGIN_KEYS:
            problems.append(f'{name}: "Converted From" has the keys {ORIGIN_KEYS}, and Parity if known: {origin}')
            continue
        weights = read_published(origin['Weights'], origin['Converter'], name)
        if weights.is_published and not weights.license:
            problems.append(f"{name}: its Weights lack License, as their authors state it ('none stated')")
        if origin.get('Converter') not in CONVERTERS:
            problems.append(f"{name}: Converter is {origin.get('Converter')}, expected one of {sorted(CONVERTERS)}")
        if weights.sha256 and (len(weights.sha256) != 64 or not weights.file):
            problems.append(f'{name}: SHA256 has 64 digits and needs File, the name of the file that has it')
    assert not problems, '\n'.join(problems)


PAGES = [*REPOSITORY.glob('configs/*/README.md'), REPOSITORY / 'docs/reference/published.md']
LINK = re.compile(r'\]\(([^)]+\.py)\)')


def table_rows(page: Path, *sections: str) -> Iterator[dict[str, str]]:
    """Rows of the tables of a page, in the chapters of these titles or in all: column -> cell."""
    for chapter in page.read_text().split('\n## '):
        if sections and chapter.split('\n')[0] not in sections:
            continue
        for table in re.findall(r'(?m)((?:^\|.*\n)+)', chapter):
            lines = [[cell.strip() for cell in line.strip('|').split(' |')] for line in table.splitlines()]
            yield from (dict(zip(lines[0], line)) for line in lines[2:])


def is_number(text: str) -> bool:
    return re.fullmatch(r'\d+\.\d+', text) is not None


def numbers_of(metrics: dict) -> tuple:
    return tuple(sorted((key, float(value)) for key, value in metrics.items()))


def metafile_numbers(metafile: Path) -> set[tuple]:
    """(config, its metrics) of all published numbers of a metafile."""
    return {(entry['Name'], numbers_of(result['Metrics']))
            for entry in entries(metafile) for result in entry.get('Results', ())}


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda path: path.parent.name)
def test_page_of_a_method_and_metafile_state_the_same_published_numbers(metafile):
    page, names = metafile.parent / 'README.md', set(METRICS['avsbench'] | METRICS['dataset'])
    stated = set()
    for row in table_rows(page, 'Published numbers', 'Ablation configs'):
        if metrics := {key: cell for key, cell in row.items() if key in names and is_number(cell)}:
            config, = LINK.findall(''.join(row.values()))
            assert (page.parent / config).is_file()
            stated.add((Path(config).stem, numbers_of(metrics)))
    assert stated == metafile_numbers(metafile)


def test_comparison_page_agrees_with_the_metafiles():
    known = set().union(*map(metafile_numbers, METAFILES))
    columns, compared, alone = dict(s4='S4', ms3='MS3', avss='AVSS'), 0, 0
    for row in table_rows(REPOSITORY / 'docs/reference/published.md'):
        if 'config' not in row:  # the table of systems that are not built
            continue
        per_frame = 'S4' in row
        configs = {re.match(r'\w[^_]*_[^_]+_([^_]+)', Path(link).stem)[1]: Path(link).stem
                   for link in LINK.findall(row['config'])}
        alone += not configs
        for subset, config in configs.items():
            cell = row[columns[subset] if per_frame else {'s4': '"AVS-Object"'}.get(subset, subset.upper())]
            found = [x for x in cell.split(' / ') if is_number(x)]
            assert (config, numbers_of(dict(zip(('M_J', 'M_F') if per_frame else ('J&F', ), found)))) in known, row
            compared += 1
    assert compared >= 30 and alone >= 15


@pytest.mark.parametrize('page', PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_published_numbers_are_neither_left_out_nor_remembered(page):
    text = page.read_text()
    assert not re.search(r'from memory|at hand|did not have access to the\s+paper', text)
    left_out = [row for row in table_rows(page) if any(row.get(key) == '-' for key in ('M_J', 'M_F', 'J&F'))]
    assert not left_out


def test_zoo_page_shows_every_number_or_why_there_is_none(monkeypatch):
    pytest.importorskip('sphinx', reason='the documentation is built by Sphinx, which is optional')
    monkeypatch.syspath_prepend(str(REPOSITORY / 'docs/_ext'))
    zoo_row = importlib.import_module('tree_pages').zoo_row
    for metafile in METAFILES:
        for entry in entries(metafile):
            row = zoo_row(read_zoo()[entry['Name']])
            for result in entry.get('Results', ()):
                for text in (*(f'{key} {value}' for key, value in result['Metrics'].items()), result['Source']):
                    assert text in row
            assert entry.get('Unpublished', '') in row


COLUMNS = {'AVSBench-S4': 'S4', 'AVSBench-MS3': 'MS3', 'AVSBench-semantic': 'AVSS'}


def test_comparison_of_methods_agrees_with_the_metafiles(monkeypatch):
    pytest.importorskip('sphinx', reason='the documentation is built by Sphinx, which is optional')
    monkeypatch.syspath_prepend(str(REPOSITORY / 'docs/_ext'))
    tables = importlib.import_module('method_tables')
    models, costs = compared_models(read_zoo()), read_costs(tables.COSTS)
    assert costs.keys() == models.keys(), 'run tools/benchmarks/method_costs.py --count-only with the missing models'
    # A row for each recipe and protocol: the scores and the checkpoint of each subset
    rows = {}
    for protocol in METRICS:
        for row in parse_table(tables.published_table(models, costs, protocol)):
            rows |= {Path(link).stem: (row, row[column], column) for column, cell in row.items()
                     for link in re.findall(r'#([^)]+)\)', cell)}
    assert rows.keys() == models.keys()
    counted = parse_table(tables.costs_table(models, costs))
    for entry in (entry for metafile in METAFILES for entry in entries(metafile)):
        name, origin, metadata = entry['Name'], entry.get('Converted From', {}), entry['Metadata']
        if '/ablation/' in entry['Config']:
            continue
        row, cell, column = rows[name]
        assert column == COLUMNS.get(metadata['Training Data'], metadata['Training Data'])
        for result in entry.get('Results', ()):
            assert {str(x) for x in result['Metrics'].values()} & set(re.findall(r'[\d.]+', cell)), name
        assert ('[none]' in cell) == ('Results' not in entry), name
        published = 'Unpublished' not in origin.get('Weights', {'Unpublished': ''})
        assert (column in row["authors' checkpoint"].split(', ')) == published, name
        assert (f"{column}: {origin.get('Parity')}" in row['parity']) == ('Parity' in origin), name
        assert costs[name].parameters == metadata['Parameters'], name
        gflops, = (x['GFLOPs'] for x in counted if x['recipe'] == row['recipe'] and column in x['subsets'].split(', '))
        assert gflops == f"{metadata['FLOPs'] / 1e9:.0f}", name


def parse_table(lines: list[str]) -> list[dict[str, str]]:
    """Rows of a table of Markdown, by the heading of the column."""
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines if line.startswith('|')]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


DATASET_TYPES = dict(
    AVSBenchS4Dataset='AVSBench-S4', AVSBenchMS3Dataset='AVSBench-MS3', AVSSDataset='AVSBench-semantic')


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda path: path.parent.name)
def test_entries_state_the_data_of_their_configs(metafile):
    for entry in entries(metafile):
        dataset = Config.fromfile(REPOSITORY / entry['Config']).train_dataloader.dataset
        dataset = dataset.get('dataset', dataset)  # of a wrapper
        if dataset.type == 'BinaryAVSSDataset':
            expected = f'AVSBench-{dataset.subset.upper()}'
        else:
            expected = DATASET_TYPES.get(dataset.type) or f"VPO-{dataset.subset.removeprefix('vpo-').upper()}"
        assert entry['Metadata']['Training Data'] == expected, entry['Name']


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda path: path.parent.name)
def test_entries_state_the_parameters_of_their_configs(metafile):
    listed = entries(metafile)
    for entry in listed[::max(1, len(listed) // 3)]:
        model = load_config(str(REPOSITORY / entry['Config'])).model
        if model.audio_backbone.type != 'AST':  # of a library that is optional
            found = count_parameters(build_outline(model))
            assert entry['Metadata']['Parameters'] == found, f"{entry['Name']}: {FILL} {metafile}"


@pytest.mark.parametrize('name', ['vct_swin-b-224_s4_mask-prior', 'tpavi_r50_avss', 'ease_pvt-v2-b5_s4'])
def test_entries_state_the_flops_of_their_configs(name):
    assert read_zoo()[name].flops == model_complexity(load_config(name)).flops['']


# ---- models by name ----


def test_names_are_chosen_by_patterns():
    assert list_models('vct_swin-b_avss') == ['vct_swin-b_avss']
    assert set(list_models('vct_swin-b_*avss*')) >= {'vct_swin-b_avss', 'vct_swin-b_avss_mask-prior'}
    assert list_models(['act_*', 'tpavi_r50_s?']) == [
        name for name in list_models() if name.startswith('act_') or name == 'tpavi_r50_s4']
    assert list_models('nothing') == [] and len(list_models()) == len(read_zoo())


def test_the_zoo_prints_as_a_table(capsys, run_tool):
    assert '…' not in str(list_models())  # nothing is cut off
    print(list_models('vct_swin-b_*_mask-prior'))
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if 'vct_swin-b_avss_mask-prior' in line)
    for text in ('VCT', 'AVSBench-semantic', '222.2', 'M_J 52.5, M_F 56.9', 'avsbench', 'README of spyflying/VCT_AVS'):
        assert text in row
    run_tool('list_models', 'vct_swin-b_*_mask-prior')
    assert 'M_J 52.5, M_F 56.9' in capsys.readouterr().out
    run_tool('list_models', 'tpavi_r50_*', '--names')
    assert capsys.readouterr().out.splitlines() == list_models('tpavi_r50_*')
    with pytest.raises(SystemExit, match='no model of the zoo matches absent'):
        run_tool('list_models', 'absent')


def test_an_unknown_name_is_one_error_with_close_matches():
    for build in (get_model, init_model):
        with pytest.raises(ValueError, match="'vct_swinb_avss' is neither .* did you mean vct_swin-b_avss") as error:
            build('vct_swinb_avss')
        assert '\n' not in str(error.value)
    with pytest.raises(ConfigError, match='absent.py'):
        init_model('absent.py')
    with pytest.raises(ValueError, match='list_models'):
        get_model('zzzz')


# ---- former names ----


def test_aliases_name_configs_that_exist():
    names = {path.stem for path in REPOSITORY.glob('configs/**/*.py')}
    assert set(CONFIG_ALIASES.values()) <= names
    assert not CONFIG_ALIASES.keys() & names, 'a config has the former name of another one'


@pytest.mark.parametrize('former', ['vct_r50_224_s4', str(REPOSITORY / 'configs/vct/vct_r50_224_s4.py')])
def test_a_former_name_is_replaced_and_warned_of(former):
    with pytest.warns(FutureWarning, match=r'vct_r50_224_s4\S*: this config is now called \S*vct_r50-224_s4'):
        config = load_config(former)
    assert config.filename == str(REPOSITORY / 'configs/vct/vct_r50-224_s4.py')


def test_every_former_name_of_a_config_is_found():
    for former, present in CONFIG_ALIASES.items():
        for path in REPOSITORY.glob(f'configs/*/{present}.py'):
            with pytest.warns(FutureWarning, match=present):
                assert config_path(str(path.with_stem(former))) == str(path)
            if present in read_zoo():
                with pytest.warns(FutureWarning, match=present):
                    assert config_path(former) == str(path)


def test_a_file_of_a_former_name_is_kept(tmp_path, recwarn):
    own = tmp_path / 'vct_r50_224_s4.py'
    own.touch()
    assert config_path(str(own)) == str(own) and not recwarn


def test_missing_base_file_error_names_its_new_name(tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(f"_base_ = '{REPOSITORY}/configs/vct/vct_r50_224_s4.py'\n")
    with pytest.raises(ConfigError, match=r'vct_r50_224_s4.py\W+it is now called vct_r50-224_s4.py'):
        load_config(str(own))


def test_a_model_is_built_by_its_former_name():
    with pytest.warns(FutureWarning, match='vct_pvt-v2-b5-224_ms3'):
        assert find_model('vct_pvt-v2-b5_ms3') == find_model('vct_pvt-v2-b5-224_ms3')


@pytest.fixture
def small_zoo(tmp_path, monkeypatch):
    """A zoo of one small model, and its checkpoint."""
    root = tmp_path / 'zoo'
    (root / 'configs/small').mkdir(parents=True)
    config = root / 'configs/small/small_model.py'
    config.write_text(f"_base_ = '{REPOSITORY}/configs/vct/vct_tiny_synthetic.py'\n")
    (root / 'model-index.yml').write_text('Import:\n  - configs/small/metafile.yml\n')
    torch.manual_seed(0)
    model = init_model(config)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'small-model.pth')

    def state(sha256, key='Weights'):
        weights = f'{{URL: http://nowhere/small-model.pth, SHA256: "{sha256}"}}'
        if key == 'Converted From':
            weights = f'{{Weights: {weights}, Converter: vct}}'
        (root / 'configs/small/metafile.yml').write_text(
            'Models:\n  - Name: small_model\n    In Collection: Small\n    Config: configs/small/small_model.py\n'
            f'    Metadata: {{Training Data: none}}\n    {key}: {weights}\n')
        read_zoo.cache_clear()

    monkeypatch.setattr(zoo, 'zoo_root', lambda: root)
    yield state, model, tmp_path / 'small-model.pth'
    read_zoo.cache_clear()


@pytest.mark.parametrize('build', [init_model, get_model])
def test_a_checkpoint_has_to_have_the_stated_sha256(small_zoo, build):
    state, model, checkpoint = small_zoo
    state(hashlib.sha256(checkpoint.read_bytes()).hexdigest().upper())
    loaded = build('small_model', checkpoint)
    key = 'decode_head.decoder.class_embed.weight'
    torch.testing.assert_close(loaded.state_dict()[key], model.state_dict()[key])
    state('0' * 64)
    with pytest.raises(ValueError, match='small-model.pth: SHA-256 is .* the metafile states 0000'):
        build('small_model', checkpoint)
    for read in (CheckpointLoader.load_checkpoint, read_checkpoint):  # load_from, --resume, init_cfg; convert.py
        with pytest.raises(ValueError, match='small-model.pth: SHA-256 is'):
            read(str(checkpoint))
    # Another name: a training of one's own.
    build('small_model', checkpoint.rename(checkpoint.with_name('mine.pth')))


def test_a_published_file_has_to_have_the_stated_sha256_to_be_converted(small_zoo, tmp_path):
    from mmavs.apis import convert_checkpoint
    state, _, checkpoint = small_zoo
    state('0' * 64, 'Converted From')
    with pytest.raises(ValueError, match='small-model.pth: SHA-256 is'):
        convert_checkpoint('vct', checkpoint, tmp_path / 'out.pth')
    with pytest.raises(ValueError, match='vct: '):  # read, as nothing is stated for this name
        convert_checkpoint('vct', checkpoint.rename(tmp_path / 'other.pth'), tmp_path / 'out.pth')


def test_a_sha256_that_yaml_takes_for_a_number_is_an_error(small_zoo):
    state = small_zoo[0]
    state('1' * 64)
    metafile = zoo.zoo_root() / 'configs/small/metafile.yml'
    metafile.write_text(metafile.read_text().replace('"', ''))
    with pytest.raises(ValueError, match='small_model.*SHA256 1+: write it in quotes'):
        read_zoo()


def test_a_metafile_that_lacks_a_key_is_named(small_zoo):
    state = small_zoo[0]
    state('0' * 64)
    metafile = zoo.zoo_root() / 'configs/small/metafile.yml'
    metafile.write_text(metafile.read_text().replace('    In Collection: Small\n', ''))
    with pytest.raises(ValueError, match="metafile.yml: the model 'small_model' lacks or misstates 'In Collection'"):
        read_zoo()


def test_the_root_of_the_zoo_is_the_checkout():
    assert zoo_root() == REPOSITORY

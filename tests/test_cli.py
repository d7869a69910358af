"""The ``mmavs`` command: help, errors, exit statuses, JSON, and each sub-command on small inputs."""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from avsbench_tree import write_s4
from doc_pages import blocks, run_shell
from mmengine.config import DictAction
from test_converters import randoms, swin_shapes

from mmavs.checkpoint.converters import CONVERTERS
from mmavs.cli import check_data, convert, main, run_tool
from mmavs.cli.arguments import add_cfg_options
from mmavs.cli.cfg_options import parse_value
from mmavs.cli.command import COMMANDS, EXIT_STATUSES, make_parsers
from mmavs.datasets.check import DATASET_TYPES
from mmavs.engine import MeanLossHook
from mmavs.utils.zoo import read_zoo
from mmavs.version import __version__

REPOSITORY = Path(__file__).parents[1]
CONFIG = REPOSITORY / 'tests/configs/vct_tiny_s4.py'
# Tools of the same purpose as a command.
TOOLS = {'train': 'train', 'test': 'test', 'convert': 'model_converters/convert',
         'publish': 'model_converters/publish_model', 'check-data': 'dataset_converters/check_dataset'}
# Modules whose import takes longer than the rest of --help.
SLOW = ('torch', 'numpy', 'mmengine', 'mmcv', 'matplotlib', 'scipy', 'rich', 'yaml', 'av')
ENVIRONMENT = dict(os.environ, PYTHONPATH=str(REPOSITORY))


def python(code, **options):
    return subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, env=ENVIRONMENT, text=True,
                          stderr=subprocess.PIPE, **options)


def status_of(*arguments):
    """Exit status of ``mmavs``."""
    try:
        main(list(map(str, arguments)))
    except SystemExit as end:
        if isinstance(end.code, str):  # the interpreter prints it and exits with 1
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


# ---- help and arguments ----


def test_help_of_all_commands_imports_nothing_slow():
    code = ('import sys; from mmavs.cli.command import make_parsers; [x.format_help() for x in '
            f'make_parsers()[1].values()]; print(*({{*sys.modules}} & {{*{SLOW}}}), end="")')
    run = python(code, stdout=subprocess.PIPE)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ''


def test_the_list_of_models_does_not_wait_for_pytorch():
    code = ('import sys; from mmavs.cli import main; main(["models"]); '
            'print(*({*sys.modules} & {"torch", "mmengine", "matplotlib", "scipy", "av"}), file=sys.stderr, end="")')
    run = python(code, stdout=subprocess.PIPE)
    assert run.returncode == 0 and 'vct_swin-b_avss' in run.stdout
    assert run.stderr == ''


@pytest.mark.parametrize('command', [None, *COMMANDS])
def test_help_fits_a_screen(monkeypatch, command):
    monkeypatch.setenv('COLUMNS', '100')
    parser, commands = make_parsers()
    lines = (commands[command] if command else parser).format_help().splitlines()
    assert len(lines) <= 40 and max(map(len, lines)) <= 100, '\n'.join(lines)


@pytest.mark.parametrize('start', [['-m', 'mmavs'], ['-c', 'from mmavs.cli import main; main()']])
def test_version(start):
    run = subprocess.run([sys.executable, *start, '--version'], cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True,
                         text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, f'mmavs {__version__}\n', '')


@pytest.mark.parametrize('arguments,message', [
    (['infr'], "mmavs: error: 'infr' is not a command: did you mean infer?"),
    (['qqq'], f"mmavs: error: 'qqq' is not a command: expected one of {', '.join(COMMANDS)}"),
    ([], 'mmavs: error: the following arguments are required: COMMAND'),
    (['models', '--json', '--names'], 'mmavs models: error: argument --names: not allowed with argument --json'),
    (['convert', '--from', 'vtc', 'a', 'b'],
     f"mmavs convert: error: argument --from: 'vtc', expected one of {', '.join(sorted(CONVERTERS))}"),
    (['convert', '--to', 'vct', '--config', 'x', 'a', 'b'],
     'mmavs convert: error: --config goes with --from; --to needs none'),
    (['check-data', 'x', '--subset', 's5'], "mmavs check-data: error: argument --subset: invalid choice: 's5'"),
    (['train', 'x.py', '--cfg-options', 'train_cfg'],
     "mmavs train: error: argument --cfg-options: 'train_cfg', expected KEY=VALUE"),
    (['train', 'x.py', '--cfg-options', '=1'], "mmavs train: error: argument --cfg-options: '=1', expected KEY=VALUE"),
    (['train', 'x.py', '--cfg-options', 'a..b=1'],
     "mmavs train: error: argument --cfg-options: 'a..b=1', expected KEY=VALUE"),
    (['train', 'x.py', '--cfg-options', 'a. b=1'],
     "mmavs train: error: argument --cfg-options: 'a. b=1', expected KEY=VALUE"),
    (['test', 'x.py', 'x.pth', '--predict-only', '--show-dir', 'y', '--json'],
     'mmavs test: error: --json prints metrics, which --predict-only does not compute'),
])
def test_wrong_arguments_end_with_status_2_and_one_line_after_the_usage(capsys, arguments, message):
    assert status_of(*arguments) == 2
    out, err = capsys.readouterr()
    usage, line = err.rstrip().rsplit('\n', 1)
    assert out == '' and usage.startswith('usage: mmavs') and line.startswith(message)


@pytest.mark.parametrize('command,tool', TOOLS.items())
def test_a_tool_takes_the_arguments_of_its_command(run_tool, capsys, monkeypatch, command, tool):
    monkeypatch.setenv('COLUMNS', '100')
    with pytest.raises(SystemExit):
        run_tool(tool, '--help')
    assert status_of(command, '--help') == 0
    of_tool, of_command = capsys.readouterr().out.split('usage: ')[1:]
    assert of_tool.partition('\n\n')[2] == of_command.partition('\n\n')[2]


def test_options_of_a_config_are_collected():
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    args = parser.parse_args(['--cfg-options', 'a.b=1', 'c=[1,x]', '--cfg-options', 'd=e=f', 'g=/a b/c', 'a.b=2'])
    assert args.cfg_options == {'a.b': 2, 'c': [1, 'x'], 'd': 'e=f', 'g': '/a b/c'}


@pytest.mark.parametrize('text', [
    '1', '1e-4', 'True', 'false', 'None', 'none', '', 'ab', '1,2,3', '1,', '[1,2]', '[1, 2]', '(1,)', '()', '[]',
    '[(1, 2, 3), [a, b], c]', '"[1,2]"', "['a','b']", '[old', 'a=b', '/a/b', '(1,(2,[3,x]))'])
def test_values_without_blanks_are_read_as_mmengine_reads_them(text):
    found = parse_value(text)
    assert found == DictAction._parse_iterable(text) and type(found) is type(DictAction._parse_iterable(text))


@pytest.mark.parametrize(('text', 'value'), [
    ('/a b/c', '/a b/c'), (' /a', ' /a'), ('[/a b/c, d]', ['/a b/c', 'd']), ('(a b,)', ('a b', )),
    ("'/a, b'", '/a, b'), ("['/a, b', 1]", ['/a, b', 1]), ("[('a,b', 2), 3]", [('a,b', 2), 3]),
    ('/a (b,c)/d', '/a (b,c)/d'), ('/a (b', '/a (b'), ("it's, that's", ["it's", "that's"])])
def test_blanks_and_commas_of_paths_are_kept(text, value):
    assert parse_value(text) == value


@pytest.mark.parametrize('text', ['[1,2', '[1,2]]', 'a],b', '(1,2]', "'a, b"])
def test_brackets_that_do_not_match_are_one_error(capsys, text):
    with pytest.raises(ValueError, match='brackets or quotes do not match'):
        parse_value(text)
    assert status_of('train', 'x.py', '--cfg-options', f'a={text}') == 2
    assert f"--cfg-options: {f'a={text}'!r}: brackets or quotes do not match" in capsys.readouterr().err


def test_choices_in_the_help_are_those_of_the_package():
    assert convert.registered_sources() == sorted(CONVERTERS)
    assert check_data.SUBSETS == tuple(DATASET_TYPES)


# ---- pages ----


def test_the_page_of_the_command_runs_and_states_every_status(run_tool, capsys):
    page = (REPOSITORY / 'docs/reference/command.md').read_text()
    for language, code in blocks(page):
        assert language == 'bash'
        run_shell(code, run_tool)
    assert f'mmavs {__version__}' in capsys.readouterr().out
    stated = re.findall(r'^\| (\d+) \|', page, re.MULTILINE)
    assert stated == re.findall(r'\b\d+\b', EXIT_STATUSES) == ['0', '1', '2', '130']


def test_the_site_lists_every_command_with_its_help_and_tool(monkeypatch, tmp_path):
    pytest.importorskip('sphinx', reason='the libraries of the documentation are not installed')
    monkeypatch.syspath_prepend(REPOSITORY / 'docs/_ext')
    import tree_pages

    monkeypatch.setattr(tree_pages, 'GENERATED', tmp_path)
    tree_pages.write_commands()
    table, pages = ((tmp_path / f'commands/{name}.md').read_text() for name in ('table', 'help'))
    for name in COMMANDS:
        assert f'mmavs {name}`](/reference/command.md#mmavs-{name})' in table and f'## mmavs {name}\n' in pages
        assert f'usage: mmavs {name} ' in pages
    for name, tool in dict(TOOLS, infer='segment_video', models='list_models').items():
        assert re.search(rf'^\| \[`mmavs {name}`\].*\| `tools/{tool}.py` \|$', table, re.MULTILINE), name


# ---- ends of a command ----


def command_that(run):
    return types.SimpleNamespace(DESCRIPTION='', add_arguments=lambda parser: None, run=run)


def test_ctrl_c_ends_with_status_130_and_one_word(capsys):

    def run(args):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as end:
        run_tool(command_that(run), [])
    assert end.value.code == 130 and capsys.readouterr().err == 'interrupted\n'


@pytest.mark.parametrize('status', [None, 0, 1])
def test_the_status_of_a_command_is_that_of_the_program(status):
    if status:
        with pytest.raises(SystemExit) as end:
            run_tool(command_that(lambda args: status), [])
        assert end.value.code == status
    else:
        run_tool(command_that(lambda args: status), [])


def test_a_reader_that_leaves_early_ends_the_command_without_a_message():
    code = """
import types
from mmavs.cli import run_tool
run_tool(types.SimpleNamespace(DESCRIPTION='', add_arguments=lambda parser: None,
                               run=lambda args: [print('x' * 100) for _ in range(10000)] and None), [])
"""
    reader, writer = os.pipe()
    os.close(reader)
    run = python(code, stdout=writer)
    os.close(writer)
    assert (run.returncode, run.stderr) == (1, '')


def test_a_broken_connection_of_a_command_keeps_its_traceback():

    def run(args):
        raise BrokenPipeError('a socket')

    with pytest.raises(BrokenPipeError, match='a socket'):
        run_tool(command_that(run), [])


# ---- sub-commands ----


def test_models_as_json_hold_all_that_the_metafiles_state(capsys):
    assert status_of('models', 'tpavi_r50_s4', 'vct_*_s4', '--json') == 0
    models = json.loads(capsys.readouterr().out)
    names = [name for name in read_zoo() if name == 'tpavi_r50_s4' or name.startswith('vct_') and name.endswith('_s4')]
    assert [model['name'] for model in models] == names
    model, = (model for model in models if model['name'] == 'tpavi_r50_s4')
    info = read_zoo()['tpavi_r50_s4']
    assert Path(model['config']) == info.config and model['parameters'] == info.parameters > 1e6
    assert [result['metrics'] for result in model['results']] == [result.metrics for result in info.results] != []
    assert status_of('models', 'tpavi_r50_s4', '--names') == 0
    assert capsys.readouterr().out == 'tpavi_r50_s4\n'


def test_no_model_of_a_pattern_is_an_error_without_json(capsys):
    assert status_of('models', 'x*', '--json') == 1
    assert capsys.readouterr() == ('', 'error: no model of the zoo matches x*\n')


def test_conversion_as_json_accounts_for_every_key(tmp_path, capsys):
    weights = randoms(swin_shapes())
    source, target = tmp_path / 'swin.pth', tmp_path / 'out.pth'
    torch.save(dict(model=weights), source)
    assert status_of('convert', '--from', 'swin', '--json', source, target) == 0
    account = json.loads(capsys.readouterr().out)
    assert account['file'] == str(target) and account['added'] == {}
    assert account['used'].keys() | account['dropped'].keys() == weights.keys()
    assert len(account['dropped']) == 4 and all('constant' in reason for reason in account['dropped'].values())
    assert set(account['used'].values()) == torch.load(target, weights_only=True)['state_dict'].keys()

    source.write_bytes(b'PK')
    assert status_of('convert', '--from', 'swin', '--json', source, tmp_path / 'none.pth') == 1
    out, err = capsys.readouterr()
    assert out == '' and err.startswith(f'error: {source}: not a readable checkpoint') and err.count('\n') == 1
    assert not list(tmp_path.glob('none*'))


def test_problems_of_a_dataset_as_json(tmp_path, capsys):
    root = write_s4(tmp_path, clips=1)
    arguments = ['check-data', root, '--subset', 's4', '--any-size', '--json']
    assert status_of(*arguments) == 0
    assert json.loads(capsys.readouterr().out) == dict(data_root=str(root), subset='s4', problems=[])
    (root / 's4_data/audio_wav/val/dog_barking/val0.wav').unlink()
    assert status_of(*arguments) == 1
    out, err = capsys.readouterr()
    problem, = json.loads(out)['problems']
    assert 'val0.wav is missing' in problem and err == f'1 problem(s) found in {root}\n'
    assert status_of(*arguments[:-1]) == 1
    assert capsys.readouterr().out == problem + '\n'


def test_train_is_interrupted_and_resumed_and_test_prints_its_report(tmp_path, capsys, synthetic_root, monkeypatch):
    root = synthetic_root / 'Single-source'
    data = [f'{split}_dataloader.dataset.data_root={root}' for split in ('train', 'val', 'test')]
    options = ['--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_iters=4', *data]
    interrupted = []

    def interrupt(self, runner, *args, **kwargs):
        if runner.iter == 2 and not interrupted:
            interrupted.append(runner.iter)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(MeanLossHook, 'before_train_iter', interrupt, raising=False)
    hooks = ['default_hooks.checkpoint.interval=2']
    assert status_of('train', CONFIG, *options, *hooks) == 130
    assert 'resume: it continues from' in ' '.join(capsys.readouterr().out.split())
    assert (tmp_path / 'iter_3.pth').exists() and not (tmp_path / 'iter_4.pth').exists()
    assert status_of('train', CONFIG, '--resume', '--work-dir', *options[1:], *hooks) == 0
    capsys.readouterr()

    report = tmp_path / 'metrics.json'
    # In this one process, a run of the same second and name would get the logger of the training, with its stdout.
    options.append('experiment_name=test')
    assert status_of('test', CONFIG, tmp_path / 'iter_4.pth', '--out', report, '--json', *options) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads(report.read_text())
    assert json.loads(out)['stamp']['training']['iter'] == 4
    assert 'avsbench/M_J' in err  # the log

    assert status_of('test', CONFIG, tmp_path / 'none.pth', '--json', *options) == 1
    out, err = capsys.readouterr()
    assert out == '' and err.endswith(f"error: {tmp_path / 'none.pth'}: no such checkpoint\n")


@pytest.mark.parametrize('chosen, kept', [(None, 'passive'), ('active', 'active')])
def test_idle_threads_sleep_unless_the_user_says_otherwise(monkeypatch, capsys, chosen, kept):
    monkeypatch.setenv('OMP_WAIT_POLICY', chosen or '')
    if chosen is None:
        del os.environ['OMP_WAIT_POLICY']
    main(['models'])
    assert os.environ['OMP_WAIT_POLICY'] == kept

"""The scripts of tools/benchmarks: benchmark, comparison of deformable attention, the GPU check and its page."""
import csv
import importlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import textwrap
import types
from dataclasses import replace
from pathlib import Path

import pytest

from mmavs.analysis.method_costs import read_costs, time_method
from mmavs.utils.zoo import ModelInfo

REPOSITORY = Path(__file__).parents[1]
BENCHMARKS = REPOSITORY / 'tools/benchmarks'
TINY = REPOSITORY / 'configs/vct/vct_tiny_synthetic.py'


@pytest.fixture
def load(monkeypatch):
    """Function that imports a module of tools/benchmarks."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


# ---- benchmark.py, print_rows.py, compare_deformable_attention.py ----


def test_rows_say_how_they_were_measured(run_tool, tmp_path, capsys):
    rows_file = tmp_path / 'rows.csv'
    arguments = (TINY, '--frames', 1, '--repeats', 1, '--device', 'cpu', '--out', rows_file)
    run_tool('benchmarks/benchmark', *arguments, '--mode', 'predict')
    run_tool('benchmarks/benchmark', *arguments, '--precision', 'bf16', '--channels-last')
    rows = list(csv.DictReader(rows_file.open()))
    assert [(row['mode'], row['precision'], row['channels_last']) for row in rows] == [
        ('predict', 'fp32', 'False'), ('predict', 'bf16', 'True'), ('train', 'bf16', 'True')]
    for row in rows:
        assert all(row[key] for key in ('hardware', 'torch', 'mmcv', 'mmengine', 'python', 'date', 'command'))
        assert float(row['frames_per_second']) == pytest.approx(1 / float(row['seconds']), rel=0.05)
    capsys.readouterr()
    run_tool('benchmarks/print_rows', rows_file)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('Stamp: hardware ') and sum(line.startswith('| /') for line in lines) == 3
    (tmp_path / 'other.csv').write_text('a,b\n1,2\n')
    with pytest.raises(SystemExit, match='other.csv: has the columns a, b'):
        run_tool('benchmarks/benchmark', *arguments[:-1], tmp_path / 'other.csv', '--mode', 'predict')
    with pytest.raises(SystemExit, match='other.csv: lacks the columns'):
        run_tool('benchmarks/print_rows', tmp_path / 'other.csv')


def test_models_of_one_architecture_are_timed_once_and_results_are_kept(run_tool, tmp_path, load, monkeypatch):
    out, tool = tmp_path / 'costs.json', load('method_costs')
    small = ModelInfo('vct_tiny', 'VCT', TINY, 'none', None, 0, (), None, ())
    zoo = {name: replace(small, name=name) for name in ('vct_a', 'vct_b')} | {'vct_c': replace(small, flops=1)}
    timed = []

    def time_and_note(info, repeats):
        timed.append(info.name)
        return time_method(info, repeats)

    monkeypatch.setattr(tool, 'compared_models', lambda models: zoo)
    monkeypatch.setattr(tool, 'time_method', time_and_note)
    for arguments in (['vct_[ab]', '--repeats', '2'], ['*', '--count-only']):
        monkeypatch.setattr(sys, 'argv', ['method_costs', *arguments, '--out', str(out)])
        tool.main()
    costs = read_costs(out)
    assert timed == ['vct_a'] and costs['vct_b'].timing == costs['vct_a'].timing and costs['vct_c'].timing is None
    cost, timing = costs['vct_a'], costs['vct_a'].timing
    assert cost.size == [96, 96] and 0 < cost.audio_backbone < cost.parameters and cost.mask_prior == 0
    assert (timing.model, timing.repeats) == ('vct_a', 2) and 0 < timing.fastest <= timing.slowest
    monkeypatch.setattr(sys, 'argv', ['method_costs', 'absent_*', '--out', str(out)])
    with pytest.raises(SystemExit, match='absent_.: no model that the comparison shows matches'):
        tool.main()
    out.write_text(out.read_text().replace('"parameters": ', '"parameters": "x", "y": ', 1))
    with pytest.raises(ValueError, match='vct_a.parameters is a str, expected int'):
        read_costs(out)


def test_memory_and_time_of_a_prediction_are_measured(run_tool, capsys):
    run_tool('benchmarks/benchmark_prediction', TINY, '--frames', 1, '--frame-size', 64, 64, '--single')
    measured = json.loads(capsys.readouterr().out)
    assert measured['seconds'] > 0 and measured['peak_mib'] >= 0


def test_the_stages_of_a_video_are_timed(run_tool, capsys):
    run_tool('benchmarks/benchmark_inference', TINY, '--frame-size', 64, 96, '--seconds', 2, '--runs', 1, '--outputs',
             'png', 'overlay')
    cells = [line.split('│')[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith('│')]
    seconds = {stage.strip(): float(value) for stage, value in cells}
    stages = ('decode', 'preprocess', 'model', 'postprocess', 'write png', 'write overlay')
    assert tuple(seconds) == (*stages, 'sum', 'all at once', 'all at once, wall')
    assert seconds['sum'] == pytest.approx(sum(seconds[stage] for stage in stages), abs=0.05)
    assert seconds['model'] > 0


def test_the_engines_of_many_videos_are_compared(run_tool, capsys, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    run_tool('benchmarks/benchmark_engines', TINY, '--frame-size', 64, 96, '--seconds', 1, '--videos', 3, '--runs', 1,
             '--outputs', 'png', '--workers')
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('│ loop'))
    first, rate, *_, of_loop, _ = (cell.strip() for cell in row.strip('│').split('│')[1:])
    assert float(first) > 0 and float(rate) > 0 and of_loop == '1.00'


def test_the_memory_of_a_video_is_measured_at_two_times(load, monkeypatch, capsys):
    tool = load('benchmark_inference')
    monkeypatch.setattr(tool, 'MINUTES', (1 / 60, 2 / 60))
    monkeypatch.setattr(sys, 'argv', ['x', str(TINY), '--memory', '--frame-size', '64', '64', '--seconds', '6'])
    tool.main()
    cells = [line.split('│')[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith('│')]
    first, second, difference = (float(value) for _, value in cells)
    assert 0 < first <= second and difference == pytest.approx(second - first, abs=0.11)


def test_precisions_of_deformable_attention_agree(run_tool, capsys):
    run_tool('benchmarks/compare_deformable_attention', '--device', 'cpu', '--size', 96, '--frames', 1)
    assert 'gradient of locations' in capsys.readouterr().out


# ---- gpu_check.sh, pack_gpu_check.sh ----


@pytest.mark.parametrize('name', ['gpu_check.sh', 'pack_gpu_check.sh'])
def test_the_gpu_check_is_a_valid_script_of_tools_that_exist(name):
    script = BENCHMARKS / name
    assert os.access(script, os.X_OK)
    assert subprocess.run(['bash', '-n', str(script)], capture_output=True, text=True).stderr == ''
    named = set(re.findall(r'\b(?:tools|tests|requirements)/[\w/]+\.\w+', script.read_text()))
    assert named and all((REPOSITORY / path).exists() for path in named), named


def test_the_pack_names_no_package_of_openmmlab_but_those_of_the_environment():
    names = re.findall(r'onedl-\w+', (BENCHMARKS / 'pack_gpu_check.sh').read_text())
    assert set(names) == {'onedl-mmcv'}, 'the versions come from requirements/mminstall.txt'


def test_the_gpu_check_runs_on_a_cpu(tmp_path, load, monkeypatch):
    command = [BENCHMARKS / 'gpu_check.sh', tmp_path / 'out', '--work-dir', tmp_path / 'work', '--pack',
               tmp_path / 'no_pack', '--minutes', '60', '--steps', 'install', 'benchmark']
    environment = dict(os.environ, DEVICE='cpu', PYTHON=sys.executable, OMP_NUM_THREADS='1')
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    log = (tmp_path / 'out/log.txt').read_text()
    assert done.returncode == 0, done.stderr
    # The other steps as their processes run them, without importing everything again.
    monkeypatch.chdir(REPOSITORY)
    check, file = load('gpu_check'), load('gpu_results').Results(tmp_path / 'out/results.json')
    for name in ('configs', 'training', 'inference'):
        monkeypatch.setattr('sys.argv', [*map(str, command), '--device', 'cpu', '--run-step', name])
        assert check.run_step(check.parse_args(), file) == 0
    results = file.read()
    found = results['steps']
    assert {name: step['status'] for name, step in found.items()} == dict(
        install='skipped', configs='ok', training='ok', benchmark='ok', inference='ok'), log
    assert [(row['precision'], row['run']) for row in found['inference']['rows']] == [
        ('fp32', 'first'), ('fp32', 'second'), ('bf16', 'first'), ('bf16', 'second')]
    assert all(row['frames_per_second'] > 0 for row in found['inference']['rows'])
    assert len(list((tmp_path / 'work/masks/second/masks').glob('*.png'))) == 10
    assert len(found['configs']['configs']) == found['configs']['total'] > 1
    assert all(result['status'] == 'ok' and result['loss'] > 0 for result in found['configs']['configs'].values())
    assert len(found['training']['losses']) == 4 and found['training']['clips_per_second'] > 0
    assert {(row['precision'], row['compiled']) for row in found['benchmark']['rows']} == {
        ('fp32', False), ('bf16', False), ('bf16', True)}
    assert all(row['frames_per_second'] > 0 for row in found['benchmark']['rows'])
    assert results['stamp']['device'] == 'cpu' and results['stamp']['torch']
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['log.txt', 'results.json']
    page = load('gpu_page').page(results)
    assert 'Tried out on a CPU: nothing here is from a GPU.' in page and '| `vct_tiny_synthetic` | ok |' in page


STEPS = """
import os, time
def describe_machine(device):
    return dict(torch='none')
def deformable(args, record):
    record(rows=[])
    raise ValueError('no such op')
def parity(args, record):
    record(tests={})
    os.system('sleep 60 & echo $! > ' + str(args.work_dir / 'child'))
    time.sleep(60)
def configs(args, record):
    os._exit(3)
def training(args, record):
    record(losses=[1.0])
"""


def test_a_step_that_fails_hangs_or_dies_does_not_stop_the_later_ones(tmp_path):
    tools = tmp_path / 'tools/benchmarks'
    tools.mkdir(parents=True)
    for name in ('gpu_check.py', 'gpu_results.py'):
        shutil.copy(BENCHMARKS / name, tools)
    (tools / 'gpu_steps.py').write_text(STEPS)
    command = [sys.executable, tools / 'gpu_check.py', 'out', '--work-dir', 'work', '--device', 'cpu', '--steps',
               'deformable', 'parity', 'configs', 'training', '--minutes']

    def check(minutes):
        done = subprocess.run([*map(str, command), minutes], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        steps = json.loads((tmp_path / 'out/results.json').read_text())['steps']
        return steps, {name: (step['status'], step.get('reason')) for name, step in steps.items()}, done.stdout

    steps, ends, printed = check('0.5')
    assert ends == dict(
        deformable=('failed', 'ValueError: no such op'), parity=('timeout', 'stopped after 6 s'),
        configs=('failed', 'its process ended with 3'), training=('ok', None))
    assert steps['training']['losses'] == [1.0] and 'ValueError: no such op' in printed
    child = int((tmp_path / 'work/child').read_text())
    state = Path(f'/proc/{child}/stat')
    assert not state.exists() or state.read_text().split()[2] == 'Z', 'a child of the step still runs'

    assert set(check('0.05')[1].values()) == {('not run', 'no time was left')}


# ---- regress.py ----


def write_checkout(root, startup=''):
    """A checkout whose start-up runs some code, and that notes each process in the file ``order`` beside it."""
    (root / 'mmavs/apis').mkdir(parents=True)
    note = f"with open({str(root.parent / 'order')!r}, 'a') as file:\n    file.write({root.name!r} + ' ')\n"
    for name, text in {'__init__': note, 'version': '', 'cli': 'main = print', 'apis/__init__': startup}.items():
        (root / f'mmavs/{name}.py').write_text(text)
    return root


def test_a_slower_and_larger_checkout_is_found(run_tool, tmp_path, capsys):
    old = write_checkout(tmp_path / 'old')
    new = write_checkout(tmp_path / 'new', "kept = sum(range(5_000_000)), b'x' * 200_000_000")
    command = ['benchmarks/regress', old, new, '--workloads', 'start-up', '--rounds', 2, '--out', tmp_path / 'out.json']
    with pytest.raises(SystemExit) as error:
        run_tool(*command, '--limit', 1.5)
    assert [re.match('error: (.*?): ', line)[1] for line in error.value.code.splitlines()] == [
        'import mmavs.apis', 'import its names']
    assert (tmp_path / 'order').read_text().split() == 3 * ['old', 'new'] + 3 * ['new', 'old']
    rounds = json.loads((tmp_path / 'out.json').read_text())
    assert list(rounds) == ['import mmavs.apis', 'import its names', 'mmavs infer --help']
    assert all(len(of[which]) == 2 for of in rounds.values() for which in ('old', 'new'))
    (_, before), (_, after) = rounds['import its names']['old'][0], rounds['import its names']['new'][0]
    assert after - before == pytest.approx(200_000_000 / 2**20, rel=0.2)
    assert 'import its names' in capsys.readouterr().out
    run_tool(*command, '--rounds', 1)  # without a limit, nothing is an error

    (new / 'mmavs/apis/__init__.py').write_text("raise ImportError('no such thing')")
    with pytest.raises(SystemExit, match=f'(?s)error: {new}: .*import mmavs.apis.* ended with 1: .*no such thing'):
        run_tool(*command)
    with pytest.raises(SystemExit):
        run_tool('benchmarks/regress', old, tmp_path)
    assert f'{tmp_path}: expected a checkout of mmavs' in capsys.readouterr().err


def test_medians_of_alternating_rounds_are_compared(load):
    row = load('regress').summarize('x', [(1., 100.), (2., 100.), (9., 100.)], [(1., 50.), (3., 50.), (3., 60.)])
    assert (row['time'], row['memory'], row['lowest'], row['highest']) == (1.5, 0.5, pytest.approx(1 / 3), 1.5)
    assert load('regress').summarize('x', [(1., 0.)], [(1., 9.)])['memory'] == 1


def test_the_timed_calls_of_two_checkouts_alternate(load, tmp_path):
    regress = load('regress')
    script, calls = tmp_path / 'worker.py', tmp_path / 'calls'
    script.write_text(textwrap.dedent(f"""
        import json, os, pathlib, sys
        name = pathlib.Path.cwd().name
        print('a note')
        for number in range(3):
            print(os.environ['REGRESS_TURN'], flush=True)
            sys.stdin.readline()
            with open({str(calls)!r}, 'a') as file:
                file.write(f'{{name}}{{number}} ')
        sys.exit('broken') if name in sys.argv[1:] else print(json.dumps(dict(name=name)))
        """))
    roots = [tmp_path / 'old', tmp_path / 'new']
    for root in roots:
        root.mkdir()
    assert regress.run_in_turns(roots, str(script)) == [dict(name='old'), dict(name='new')]
    assert calls.read_text().split() == ['old0', 'new0', 'new1', 'old1', 'old2', 'new2']
    with pytest.raises(SystemExit, match=f'(?s)error: {roots[1]}: .*worker.py new ended with 1: broken'):
        regress.run_in_turns(roots, str(script), 'new')


def test_the_workloads_measure_a_clip_a_model_and_its_parts(load, monkeypatch, tmp_path, capsys):
    regress, workloads = load('regress'), load('regress_workloads')
    monkeypatch.setattr(regress, 'run', lambda root, script, kind, data: workloads.WORKLOADS[kind](data))
    monkeypatch.setattr(regress, 'run_in_turns', lambda roots, script, kind, *arguments: [
        workloads.WORKLOADS[kind](*map(str, arguments)) for _ in roots])
    args = types.SimpleNamespace(new=REPOSITORY, workloads=('data', 'models'), repeats=1, modes=regress.MODES, frames=2,
                                 parts=True, configs=[str(REPOSITORY / 'configs/vct/vct_tiny_synthetic-ms3.py')])
    rounds = regress.compare(REPOSITORY, REPOSITORY, regress.workloads(args, str(tmp_path)), 1)
    parts = [name for name in rounds if name.count(': ') == 2]
    assert [name for name in rounds if name not in parts] == ['load a clip', 'vct: predict', 'vct: train']
    assert {'vct: predict: backbone', 'vct: predict: decoder', 'vct: train: backward'} < set(parts)
    for name, ((old, ), (new, )) in rounds.items():
        assert all(seconds > 0 and (mib >= 0) != (name in parts) for seconds, mib in (old, new))
    rows = {name: regress.summarize(name, *numbers) for name, numbers in rounds.items()}
    assert all(math.isnan(rows[name]['memory']) == (name in parts) for name in rows)
    regress.print_table(list(rows.values()))
    assert 'nan' not in capsys.readouterr().out
    assert all((REPOSITORY / config).is_file() for config in regress.CONFIGS)


# ---- results and page ----


def test_results_are_complete_at_any_time(tmp_path, load):
    results = load('gpu_results').Results(tmp_path / 'results.json')
    results.stamp(torch='2')
    results.update('ops', status='running')
    results.update('ops', status='ok', seconds=3)
    assert json.loads((tmp_path / 'results.json').read_text()) == dict(
        stamp=dict(torch='2'), steps=dict(ops=dict(status='ok', seconds=3)))
    assert [path.name for path in tmp_path.iterdir()] == ['results.json']


def test_every_step_has_a_limit_a_task_and_a_function(load):
    check, page, steps = load('gpu_check'), load('gpu_page'), load('gpu_steps')
    assert list(check.LIMITS) == list(page.TASKS)
    assert all(name in check.LIGHT_STEPS or hasattr(steps, name) for name in check.LIMITS)


def test_the_page_in_the_docs_is_that_of_the_results_beside_it(load):
    page = load('gpu_page')
    kept = page.PAGE.with_suffix('.json')
    results = json.loads(kept.read_text()) if kept.exists() else None
    assert page.PAGE.read_text() == page.page(results), 'run tools/benchmarks/gpu_page.py'
    assert results is not None or 'has not been run on a GPU yet' in page.PAGE.read_text()


def test_the_page_shows_what_was_found_and_what_was_not(tmp_path, run_tool, load):
    result = dict(
        stamp=dict(device='cuda', hardware='a GPU', torch='2.11', driver=''),
        steps=dict(
            ops=dict(status='ok', seconds=52.2, compile_seconds=41.5, architecture='9.0', nvcc='Build 13'),
            deformable=dict(status='failed', reason='RuntimeError: a|b', seconds=9.0, op=True, tests={}, rows=[
                dict(precision='float16', quantity='output', error=0.5, allowed=0.03, seconds=0.001,
                     reference_seconds=0.01)]),
            parity=dict(status='ok', tests=dict(case=dict(outcome='passed', seconds=2.0, printed='error 1e-6'))),
            configs=dict(status='timeout', reason='stopped after 110 s', total=111, configs={
                'vct_swin-b_s4': dict(status='failed', error='OutOfMemoryError: no memory', seconds=2.0)}),
            training=dict(status='ok', config='vct', precision='AmpOptimWrapper', clips=1, losses=[3.0, 1.0],
                          clips_per_second=4.5, peak_gib=10.0),
            batch_24gb=dict(status='ok', config='vct', frames=5, limit_gib=23, batch=3, peaks_gib={'1': 7.5},
                            ends='4 clips do not fit'),
            benchmark=dict(status='ok', total=2, rows=[
                dict(config='vct', size='384x384', clips=8, precision='bf16', compiled=True, ms=12.5, peak_mib=900,
                     frames_per_second=3200.0),
                dict(config='act', clips=1, precision='fp32', compiled=False, error='ValueError: no')]),
            inference=dict(status='ok', config='vct', video='10 s of 1920x1080 at 30 fps', rows=[
                dict(precision='bf16', run='second', seconds=10.0, frames_per_second=30.0)])))
    (tmp_path / 'found.json').write_text(json.dumps(result))
    load('gpu_page')  # its directory is on the path
    run_tool('benchmarks/gpu_page', tmp_path / 'found.json', '--out', tmp_path / 'gpu.md')
    page = (tmp_path / 'gpu.md').read_text()
    assert json.loads((tmp_path / 'gpu.json').read_text()) == result
    for text in ('Stamp: device cuda, hardware a GPU, torch 2.11.', r'RuntimeError: a\|b', '| stopped after 110 s |',
                 'for compute capability 9.0: 42 s (Build 13).',
                 '| float16 | output | 5.0e-01 | 3e-02 | 1.00 | 10.00 |', '| `case` | passed | 2.0 s | error 1e-6 |',
                 '0 of 111 configs', '| OutOfMemoryError: no memory |', '| 1 to 2 | 2.000 |', '4.5 clips/s',
                 '3 clip(s) fit into 23 GiB; 4 clips do not fit.', '| bf16 | second | 30.0 | 10.0 |',
                 '| `vct` | 384x384 | 8 | bf16 compiled | 3200.0 | 12.5 | 900 |  |', '| ValueError: no |'):
        assert text in page, text
    assert 'has not been run' not in page and 'CPU' not in page.partition('## Results')[2]


def test_the_partial_extension_has_the_names_of_all_ops_and_refuses_those_it_lacks(load, monkeypatch):
    compiled = types.ModuleType('mmcv_deformable_ext')
    compiled.ms_deform_attn_forward = lambda: 'compiled'
    monkeypatch.setitem(sys.modules, 'mmcv_deformable_ext', compiled)
    extension = load('partial_ext')
    assert extension.ms_deform_attn_forward() == 'compiled'
    with pytest.raises(NotImplementedError, match='compiled without nms'):
        extension.nms()
    assert not hasattr(extension, '__path__')

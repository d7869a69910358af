"""Packages that only some uses need: one line says how to install a missing one."""
import ast
import re
import sys
from pathlib import Path

import pytest
from mmengine.visualization import TensorboardVisBackend
from mmpretrain.utils import require

from mmavs.utils.errors import cli_errors, user_message
from mmavs.utils.optional_packages import optional_import

ROOT = Path(__file__).parents[1]
# The extra of ``mmavs serve``, and a package that gradio brings.
WEB, WEB_DEPENDENCIES = 'mmavs[web]', ('uvicorn', )


def message_of(*arguments):
    with pytest.raises(ImportError) as error:
        optional_import(*arguments)
    assert user_message(error.value) == str(error.value)  # the tools print it without a traceback
    return str(error.value)


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    assert message_of('onnxruntime', 'running an exported model') == (
        'running an exported model needs the package onnxruntime, which is not installed: pip install onnxruntime')
    assert message_of('onnxruntime', 'this', 'onnxruntime>=1.20').endswith(": pip install 'onnxruntime>=1.20'")


def test_a_submodule_is_imported_and_its_package_named_if_missing():
    assert optional_import('xml.dom.minidom', 'this').parseString
    assert message_of('missing_package.part', 'this') == (
        'this needs the package missing_package, which is not installed: pip install missing_package')


def test_a_package_whose_import_fails_is_told_from_a_missing_one(monkeypatch, tmp_path):
    (tmp_path / 'broken_package.py').write_text('import package_that_it_needs')
    monkeypatch.syspath_prepend(tmp_path)
    assert message_of('broken_package', 'this') == (
        "this needs the package broken_package, whose import fails (No module named 'package_that_it_needs'): "
        'pip install --upgrade broken_package')


def test_a_package_that_mmengine_or_mmpretrain_misses_is_a_user_error(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    with pytest.raises(SystemExit, match=r'^error: .*pip install future tensorboard'), cli_errors():
        TensorboardVisBackend(str(tmp_path)).experiment  # noqa: B018
    with pytest.raises(SystemExit, match=r'^error: .*pip install "missing_package"'), cli_errors():
        require('missing_package')(lambda: None)()
    with pytest.raises(ImportError), cli_errors():
        import mmengine.missing_module  # noqa: F401


def requirements(name):
    """Package -> line of a file of requirements; imports have underscores where packages have hyphens."""
    lines = (ROOT / f'requirements/{name}.txt').read_text().splitlines()
    return {re.match(r'[\w.-]+', line)[0].replace('-', '_'): line for line in lines if line and line[0] != '#'}


def test_every_optional_import_is_among_the_optional_requirements():
    listed, web = {**requirements('optional'), **requirements('ray')}, requirements('web')
    page = (ROOT / 'docs/get_started/install.md').read_text()
    assert [line for line in listed.values() if f'`{line}`' not in page] == []
    calls = [(path.name, [a.value for a in node.args if isinstance(a, ast.Constant)])
             for path in (ROOT / 'mmavs').rglob('*.py') for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'optional_import']
    assert len(calls) >= 2
    for file, (module, *others) in calls:
        package = module.partition('.')[0]
        if WEB in others:
            assert package in web or package in WEB_DEPENDENCIES, f'{file}: requirements/web.txt lacks {package}'
            continue
        requirement = next((x for x in others if x.startswith(package)), package)
        assert listed.get(package) == requirement, f'{file}: {requirement} is not in requirements/*.txt'

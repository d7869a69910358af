"""Starting programs: what --help, the public functions and the registries import."""
import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mmavs.apis
from mmavs.analysis.result_collection import WRITERS
from mmavs.analysis.robustness import KINDS
from mmavs.datasets import avss_to_object, clip_extraction, log_mel_extraction
from mmavs.synthesis.synthesize import SUBSETS

REPOSITORY = Path(__file__).parents[1]
# Tools that measure or compare models, and import them at the top.
MEASURING = ('benchmarks/', 'fuzz/', 'analysis_tools/compare_methods.py')
TOOLS = sorted(path.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob('tools/**/*.py')
               if not path.relative_to(REPOSITORY / 'tools').as_posix().startswith(MEASURING))
# Top-level packages whose import takes longer than the rest of --help.
SLOW = ('torch', 'mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'torchvision', 'torchaudio', 'av', 'cv2', 'matplotlib',
        'scipy', 'transformers', 'timm')
# Packages of models, and those of single functions: the public names do without them until they are called.
UNUSED = ('mmavs.models', 'mmseg.models', 'mmpretrain.models', 'torchvision', 'timm', 'torchaudio', 'scipy',
          'pycocotools', 'onnxruntime')


def lines_of(code: str) -> list[str]:
    """Run code in a fresh process and return the lines that it prints."""
    run = subprocess.run([sys.executable, '-c', code], cwd=REPOSITORY, text=True, capture_output=True,
                         env=dict(os.environ, PYTHONPATH=str(REPOSITORY)))
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def registered_classes() -> list[tuple[str, str]]:
    """Registry and name of each class of mmavs with ``@REGISTRY.register_module()``."""
    return [(decorator.func.value.id, node.name)
            for path in sorted((REPOSITORY / 'mmavs').rglob('*.py'))
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))) if isinstance(node, ast.ClassDef)
            for decorator in node.decorator_list
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith('.register_module')]


def test_help_of_the_tools_imports_nothing_slow():
    lines = lines_of(f"""
import contextlib, io, runpy, sys
for tool in {TOOLS}:
    sys.argv = [tool, '--help']
    with contextlib.redirect_stdout(io.StringIO()) as text:
        try:
            runpy.run_path(tool, run_name='__main__')
        except SystemExit as end:
            print(tool, end.code, text.getvalue().startswith('usage: '), *sorted({{*sys.modules}} & {{*{SLOW}}}),
                  file=sys.__stdout__)
""")
    assert lines == [f'{tool} 0 True' for tool in TOOLS]
    assert len(TOOLS) > 20


def test_public_names_and_registered_classes_are_imported_when_they_are_asked_for():
    found = registered_classes()
    lines = lines_of(f"""
import sys
import mmavs.apis
print('apis', *sorted({{*sys.modules}} & {{*{SLOW}}}))
assert 'vct_swin-b_avss' in mmavs.apis.list_models()
print('list', *sorted({{*sys.modules}} & {{*{SLOW}}}))
# The process that hands out the videos of a list, and those that decode them beside the workers.
import mmavs.batch_inference.ray_engine, mmavs.video
print('engine', *sorted({{*sys.modules}} & {{'torch', 'mmengine'}}))
import mmavs.registry
inferencer = mmavs.registry.INFERENCERS.get('AVSInferencer')
from mmavs.apis import *
assert AVSInferencer is inferencer
print('names', *sorted({{*sys.modules}} & {{*{UNUSED}}}))
for registry, name in {found}:
    if getattr(mmavs.registry, registry).get(name) is None:
        print(registry, name)
""")
    assert lines == ['apis', 'list', 'engine', 'names']
    assert ('INFERENCERS', 'AVSInferencer') in found and len(found) > 70


def test_public_names_are_those_that_type_checkers_see():
    tree = ast.parse(Path(mmavs.apis.__file__).read_text(encoding='utf-8'))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: '.' * node.level + node.module for node in block.body for alias in node.names}
    assert {name: importlib.util.resolve_name(module, 'mmavs.apis') for name, module in seen.items()} == (
        mmavs.apis._MODULES)
    assert mmavs.apis.__all__ == sorted(mmavs.apis._MODULES)
    assert {*mmavs.apis.__all__} <= {*dir(mmavs.apis)}
    with pytest.raises(AttributeError, match="'mmavs.apis' has no attribute 'init_modle'"):
        mmavs.apis.init_modle  # noqa: B018


def test_choices_of_the_tools_are_those_of_the_package():
    def constants(tool: str) -> dict:
        values = {}
        for node in ast.parse((REPOSITORY / 'tools' / f'{tool}.py').read_text(encoding='utf-8')).body:
            if isinstance(node, ast.Assign):
                values[node.targets[0].id] = ast.literal_eval(node.value)
        return values

    assert constants('robustness')['KINDS'] == KINDS
    assert constants('analysis_tools/collect_results')['SUFFIXES'] == tuple(WRITERS)
    assert constants('dataset_converters/synthesize_clips')['SUBSETS'] == SUBSETS
    assert constants('dataset_converters/videos_to_clips')['SPLITS'] == clip_extraction.SPLITS
    assert constants('dataset_converters/avss_to_object')['SUBSETS'] == tuple(avss_to_object.SUBSETS)
    assert constants('dataset_converters/extract_log_mel')['SUBSETS'] == tuple(log_mel_extraction.NUM_EXAMPLES)

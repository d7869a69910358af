#!/usr/bin/env python
"""Write docs/benchmarks/gpu.md from the results of the GPU check: ``python tools/benchmarks/gpu_page.py RESULTS.json``.

The results are copied to docs/benchmarks/gpu.json beside the page, so that the page can be made again from the
repository alone. Without results and without that file the page says that the check has not been run.
"""
import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from gpu_check import LIMITS, MINUTES
from gpu_results import REPOSITORY

PAGE = REPOSITORY / 'docs/benchmarks/gpu.md'
TASKS = dict(
    install='install the packed wheels into a directory of their own',
    ops="compile mmcv's deformable attention for the GPU at hand",
    deformable='compare the op with the PyTorch path: output and gradients, float32 and float16; its tests',
    parity='reproduce the outputs of the published implementations on the GPU, without TF32',
    configs='one training step and one prediction of every model of the zoo, random weights and clips',
    training='100 steps of VCT with Swin-B at 384 in mixed precision on synthetic clips',
    batch_24gb='the largest batch of that training on a GPU of 24 GB',
    benchmark='speed and memory of each method, 1 and 8 clips: float32, TF32, bfloat16, compiled',
    inference='throughput of `mmavs infer` from a video to its masks')
INTRODUCTION = f'''# GPU check

One call checks on a GPU what no test on a CPU can: that mmcv's op compiles and equals the PyTorch path, that every
config trains and predicts, and how fast and large each method is. It needs no network and at most {MINUTES} minutes.

## Run the check

```bash
tools/benchmarks/pack_gpu_check.sh        # with a network: makes the directory gpu_pack, less than 60 MiB
```

Copy the checkout with `gpu_pack` in it to the machine with the GPU, which has Python 3.12, PyTorch, torchvision,
torchaudio, transformers, timm, SciPy, matplotlib, pytest, OpenCV and nvcc of the CUDA release of PyTorch. Run there

```bash
tools/benchmarks/gpu_check.sh OUT         # OUT/results.json is complete at any time, OUT/log.txt has all output
```

and back here `python tools/benchmarks/gpu_page.py OUT/results.json`, which writes this page. `PYTHON_VERSION` packs for
another Python, `MMCV_WHEEL` packs a wheel of mmcv with compiled ops, and `MMAVS_PARITY_DIR` names the parity cases.
`DEVICE=cpu` tries the check out with small models, `--minutes` scales all time limits, and `--steps` chooses steps.
Without `gpu_pack` the packages of the environment are used.

The steps run in order of worth, each in a process with its own time limit. A step that fails or runs out of time does
not stop the later ones; the last ones get the time that is left.
'''


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Write the page of the GPU check')
    parser.add_argument('results', nargs='?', type=Path, help='results.json (default: gpu.json beside the page)')
    parser.add_argument('--out', type=Path, default=PAGE, help='the page')
    return parser.parse_args()


def main() -> None:
    """Write the page, and keep the results beside it."""
    args = parse_args()
    kept = args.out.with_suffix('.json')
    if args.results:
        kept.write_text(args.results.read_text())
    args.out.write_text(page(json.loads(kept.read_text()) if kept.exists() else None))
    print(args.out)


def page(results: dict | None) -> str:
    """The page in Markdown.

    Args:
        results: The content of results.json; None if the check has not been run.
    """
    if results is None:
        steps = [(f'`{name}`', task, f'{LIMITS[name]} s') for name, task in TASKS.items()]
        parts = [INTRODUCTION, table(('step', 'task', 'at most'), steps), '## Results',
                 '**The check has not been run on a GPU yet**, only tried out on a CPU. No number of mmavs is from a '
                 'GPU.']
        return joined(parts)
    found = results['steps']
    overview = [(f'`{name}`', task, found[name]['status'], f"{found[name].get('seconds', 0):.0f} s",
                 found[name].get('reason', '')) for name, task in TASKS.items() if name in found]
    stamp = ', '.join(f'{key} {value}' for key, value in results['stamp'].items() if value)
    note = '' if results['stamp'].get('device') != 'cpu' else '**Tried out on a CPU: nothing here is from a GPU.**'
    parts = [INTRODUCTION, '## Results', note, f'Stamp: {stamp}.',
             table(('step', 'task', 'status', 'time', 'remark'), overview)]
    for name, section in SECTIONS.items():
        if name in found:
            parts += section(found[name])
    return joined(parts)


def joined(parts: Iterable[str]) -> str:
    """The parts that are not empty, as paragraphs."""
    return '\n\n'.join(part.strip('\n') for part in parts if part) + '\n'


def table(header: tuple[str, ...], rows: Iterable[tuple]) -> str:
    """A table in Markdown; '' without rows."""
    lines = [' | '.join(str(cell).replace('|', '\\|') for cell in row) for row in rows]
    if not lines:
        return ''
    return '\n'.join([f"| {' | '.join(header)} |", '|---' * len(header) + '|', *(f'| {line} |' for line in lines)])


def ops(step: dict) -> list[str]:
    """Section of the compilation of the op."""
    if 'compile_seconds' not in step:
        return []
    return ['### Compilation', f"Deformable attention alone, for compute capability {step['architecture']}: "
            f"{step['compile_seconds']:.0f} s ({step['nvcc']})."]


def deformable(step: dict) -> list[str]:
    """Section of the comparison of the op with the PyTorch path."""
    rows = [(row['precision'], row['quantity'], f"{row['error']:.1e}", f"{row['allowed']:.0e}",
             f"{row['seconds'] * 1000:.2f}", f"{row['reference_seconds'] * 1000:.2f}") for row in step.get('rows', ())]
    op = "mmcv's CUDA op" if step.get('op') else 'The PyTorch path'
    return ['### Deformable attention',
            f'{op} beside the PyTorch path in float32; forward and backward together, the second call.',
            table(('precision', 'quantity', 'error', 'allowed', 'ms', 'PyTorch ms'), rows), tests(step)]


def parity(step: dict) -> list[str]:
    """Section of the parity cases."""
    return ['### Parity cases', tests(step)]


def tests(step: dict) -> str:
    """The outcomes of tests, except of those that passed without output."""
    found = step.get('tests', {})
    rows = [(f'`{name}`', test['outcome'], f"{test['seconds']:.1f} s",
             ' '.join((test.get('error') or test.get('reason') or test['printed']).split())[:300])
            for name, test in found.items() if test['outcome'] != 'passed' or test['printed']]
    passed = sum(test['outcome'] == 'passed' for test in found.values())
    return joined([f'{passed} of {len(found)} tests passed.', table(('test', 'outcome', 'time', 'remark'), rows)])


def configs(step: dict) -> list[str]:
    """Section of the configs."""
    found = step.get('configs', {})
    rows = [(f'`{Path(name).stem}`', result['status'], result.get('loss', ''), result.get('peak_gib', ''),
             result.get('seconds', ''), result.get('error', '')) for name, result in sorted(found.items())]
    good = sum(result['status'] == 'ok' for result in found.values())
    return ['### Every config',
            f"{good} of {step.get('total', len(found))} configs took a training step and predicted.",
            table(('config', 'status', 'loss', 'peak GiB', 'seconds', 'error'), rows)]


def training(step: dict) -> list[str]:
    """Section of the training: the loss as means of ten steps."""
    losses = step.get('losses', [])
    curve = [(f'{start + 1} to {min(start + 10, len(losses))}', f'{mean(losses[start:start + 10]):.3f}')
             for start in range(0, len(losses), 10)]
    units = dict(clips_per_second='clips/s', seconds_per_step='s a step', peak_gib='GiB at the peak')
    speed = [f'{step[key]} {unit}' for key, unit in units.items() if key in step]
    return ['### Training', f"`{step.get('config')}`, {step.get('precision')}, {step.get('clips')} clip(s) a step: "
            f"{', '.join(speed)}.", table(('steps', 'mean loss'), curve)]


def batch_24gb(step: dict) -> list[str]:
    """Section of the batch that fits."""
    if 'batch' not in step:
        return []
    peaks = [(batch, peak) for batch, peak in step['peaks_gib'].items()]
    return ['### Batch on 24 GB', f"`{step['config']}` in mixed precision with {step['frames']} frames a clip: "
            f"{step['batch']} clip(s) fit into {step['limit_gib']} GiB; {step.get('ends', 'the search was stopped')}.",
            table(('clips', 'reserved GiB'), peaks)]


def benchmark(step: dict) -> list[str]:
    """Section of the rows of the benchmark."""
    rows = [(f"`{Path(row['config']).stem}`", row.get('size', ''), row['clips'],
             row['precision'] + ' compiled' * row['compiled'], row.get('frames_per_second', ''), row.get('ms', ''),
             row.get('peak_mib', ''), row.get('error', '')) for row in step.get('rows', ())]
    return ['### Speed and memory',
            f"{len(rows)} of {step.get('total', len(rows))} rows. Predictions of clips of 5 frames; memory without "
            'the weights. bfloat16 takes the PyTorch path of deformable attention, because the op has no bfloat16.',
            table(('config', 'size', 'clips', 'precision', 'frames/s', 'ms', 'peak MiB', 'error'), rows)]


def inference(step: dict) -> list[str]:
    """Section of the video."""
    if 'rows' not in step:
        return []
    rows = [(row['precision'], row['run'], row['frames_per_second'], row['seconds']) for row in step['rows']]
    text = (f"`{Path(step['config']).stem}`, every frame of {step['video']}, from the file to the overlay and the PNG "
            'masks; random weights.')
    return ['### A video', text, table(('precision', 'run', 'frames/s', 's'), rows)]


SECTIONS = dict(ops=ops, deformable=deformable, parity=parity, configs=configs, training=training,
                batch_24gb=batch_24gb, benchmark=benchmark, inference=inference)

if __name__ == '__main__':
    main()

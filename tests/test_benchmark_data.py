"""tools/benchmarks/benchmark_data.py and make_avss.py."""
import io
import json
import os
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmavs.analysis.data_timing import StageTimer, proportional_memory, time_loader
from mmavs.datasets import AVSBenchMS3Dataset, AVSSDataset
from mmavs.datasets.check_clips import check_clips
from mmavs.datasets.transforms import LoadAudio, LoadClipFrames, LoadClipMasks

CONFIG = Path(__file__).parents[1] / 'configs/vct/vct_tiny_synthetic-ms3.py'
BROADCASTER = dict(type='ClipBroadcaster', transforms=[dict(type='RandomFlip', prob=0.5)])


@pytest.fixture(scope='module')
def timer(synthetic_root):
    pipeline = [dict(type='LoadClipFrames'), dict(type='LoadClipMasks'), BROADCASTER, BROADCASTER]
    return StageTimer(AVSBenchMS3Dataset(str(synthetic_root / 'Multi-sources'), 'train', pipeline=pipeline))


def test_each_stage_counts_once_and_reading_apart_from_decoding(timer):
    for _ in range(2):
        times = timer.measure([0, 1, 2])
        assert list(times.stages) == [
            'LoadClipFrames: read files', 'LoadClipFrames: decode', 'LoadClipMasks: read files',
            'LoadClipMasks: decode', 'ClipBroadcaster', 'ClipBroadcaster / RandomFlip', 'ClipBroadcaster #2',
            'ClipBroadcaster / RandomFlip #2']
        assert all(seconds >= 0 for seconds in times.stages.values())
        assert 0.5 * times.total < sum(times.stages.values()) <= times.total * 1.1
        assert times.read_from_disk > 0


def test_a_stage_is_as_long_as_the_clock_says(timer, monkeypatch):
    ticks = iter(range(10**6))
    monkeypatch.setattr('mmavs.analysis.data_timing.time.process_time', lambda: next(ticks))
    times = timer.measure([0])
    # A transform without others inside takes one tick; a broadcaster, without those of its five frames, the rest.
    assert times.stages['ClipBroadcaster / RandomFlip'] == 5 and times.stages['ClipBroadcaster'] == 6
    assert times.stages['LoadClipFrames: read files'] == 1 and times.stages['LoadClipFrames: decode'] == 0


def test_memory_of_workers_and_rate_are_measured_while_they_run(synthetic_root):
    dataset = AVSBenchMS3Dataset(str(synthetic_root / 'Multi-sources'), 'train', pipeline=[LoadClipFrames()])
    rate, mib = time_loader(DataLoader(dataset, batch_size=None, num_workers=1), 100)
    assert rate > 0 and 1 < mib < 10000
    assert proportional_memory(os.getpid()) > mib / 10
    with pytest.raises(ValueError, match='6 batch.* for 5 worker'):
        time_loader(DataLoader(dataset, batch_size=None, num_workers=5), 1)


def test_the_tool_measures_stages_loader_and_start(run_tool, synthetic_root, tmp_path, capsys, monkeypatch):
    def start_here(arguments, **options):
        """Stands for a process: importing everything once more takes long."""
        cache_dir = Path(arguments[arguments.index('--cache-dir') + 1])
        caches.append(len(list(cache_dir.glob('*.json'))))
        with redirect_stdout(io.StringIO()) as printed:
            run_tool('benchmarks/benchmark_data', *arguments[2:])
        return subprocess.CompletedProcess(arguments, 0, printed.getvalue())

    caches = []
    monkeypatch.setattr(subprocess, 'run', start_here)
    options = [f'{split}_dataloader.{option}' for split in ('train', 'val')
               for option in ('num_workers=0', 'persistent_workers=False')]
    run_tool('benchmarks/benchmark_data', CONFIG, '--data-root', synthetic_root / 'Multi-sources', '--clips', 2,
             '--runs', 1, '--out', tmp_path / 'data.json', '--cfg-options', 'train_dataloader.batch_size=1', *options)
    assert caches == [0, 2]  # of training and validation
    found = json.loads((tmp_path / 'data.json').read_text())
    numbers = found['numbers']
    assert list(numbers) == ['stages of a clip, ms of CPU time', 'a clip, ms', 'one process', '1 worker(s)',
                             'start without the cache, s', 'start with the cache, s']
    assert all(len(values) == 1 and min(values) >= 0 for rows in numbers.values() for values in rows.values())
    for name in ('start without the cache, s', 'start with the cache, s'):
        rows = numbers[name]
        assert rows['sum'][0] == pytest.approx(sum(rows[phase][0] for phase in (
            'imports and config', 'list the clips', 'check the files', 'first batch')))
    printed = capsys.readouterr().out
    assert found['stamp'] in printed and found['command'] in printed and 'LoadClipFrames: decode' in printed


def test_made_datasets_have_the_published_proportions_and_pass_the_check(run_tool, tmp_path, capsys):
    run_tool('benchmarks/make_avss', tmp_path / 'avss', '--size', 32, '--fraction', 0.002, '--different', 2)
    counts = {}
    for split in ('train', 'val', 'test'):
        dataset = AVSSDataset(str(tmp_path / 'avss'), split, pipeline=[LoadClipFrames(), LoadClipMasks(), LoadAudio()])
        clips = [dataset.get_data_info(i) for i in range(len(dataset))]
        counts[split] = [sum(clip['clip_id'].startswith(part) for clip in clips) for part in ('v1s', 'v1m', 'v2')]
        assert check_clips(dataset, clips) == ([], [])
    assert counts == dict(train=[7, 1, 10], val=[1, 1, 1], test=[1, 1, 2])
    assert os.stat(tmp_path / 'avss' / clips[0]['clip_id'] / 'frames/0.jpg').st_nlink > 1
    assert f"{tmp_path / 'avss'}: 25 clips" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_tool('benchmarks/make_avss', tmp_path / 'x', '--fraction', 2)


def test_decoders_are_compared_with_the_pixels_of_pillow(run_tool, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    for name, array in (('color.jpg', image), ('gray.png', image[..., 0])):
        Image.fromarray(array).save(tmp_path / name)
        run_tool('benchmarks/compare_decoders', tmp_path / name, '--runs', 1, '--repeats', 1)
        rows = [line for line in capsys.readouterr().out.splitlines() if 'read_image' in line or 'OpenCV' in line]
        assert len(rows) == 2 and all('0.0 %' in row for row in rows)

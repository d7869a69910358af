"""The demo, with a few clips and iterations."""
import json
import os
import subprocess
import sys
from pathlib import Path

import av
from PIL import Image

REPOSITORY = Path(__file__).parents[1]


def test_demo_writes_report_sheet_and_video_with_audio(tmp_path):
    result = subprocess.run(
        [sys.executable, 'demo/run_demo.py', '--quick', '--data', tmp_path / 'data', '--work-dir', tmp_path / 'out'],
        cwd=REPOSITORY,
        env=os.environ | dict(OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True)
    assert result.returncode == 0, result.stdout + result.stderr

    # Quiet, and with a line for each tenth of the training (of 4 iterations: for each) without a terminal.
    assert 'OneDL' not in result.stdout and 'Warning' not in result.stderr
    lines = [line for line in result.stdout.splitlines() if line.startswith('training ')]
    assert [line.split(',')[0] for line in lines] == [f'training {i}/4 ({25 * i}%)' for i in range(1, 5)]

    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert list(report) == ['original', 'muted', 'swapped']
    assert all(0 <= scores['avsbench/M_J'] <= 1 for scores in report.values())
    # Three sheets of five frames, one below the other.
    width, height = Image.open(tmp_path / 'out/contact_sheet.png').size
    assert height > 2 * width
    with av.open(tmp_path / 'out/overlay.mp4') as video:
        assert [stream.type for stream in video.streams] == ['video', 'audio']
        assert abs(video.duration / av.time_base - 5) < 0.1

    # The video, which mmavs infer has segmented at one frame per second.
    masks = sorted((tmp_path / 'out/video/masks').iterdir())
    assert len(masks) == 20 and Image.open(masks[0]).size == Image.open(next((tmp_path / 'data').rglob('*.jpg'))).size
    with av.open(tmp_path / 'out/video/overlay.mp4') as video:
        assert [stream.type for stream in video.streams] == ['video', 'audio']
        assert abs(video.duration / av.time_base - 20) < 0.1

"""The demo, with a few clips and iterations."""
import json
import os
import subprocess
import sys
from pathlib import Path

import av
from PIL import Image

REPOSITORY = Path(__file__).parents[1]


def test_demo_writes_report_sheet_and_video_with_sound(tmp_path):
    result = subprocess.run(
        [sys.executable, 'demo/run_demo.py', '--quick', '--data', tmp_path / 'data', '--work-dir', tmp_path / 'out'],
        cwd=REPOSITORY,
        env=os.environ | dict(OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True)
    assert result.returncode == 0, result.stdout + result.stderr

    report = json.loads((tmp_path / 'out/report.json').read_text())
    assert list(report) == ['original', 'muted', 'swapped']
    assert all(0 <= scores['avsbench/M_J'] <= 1 for scores in report.values())
    # Three sheets of five frames below each other.
    width, height = Image.open(tmp_path / 'out/contact_sheet.png').size
    assert height > 2 * width
    with av.open(tmp_path / 'out/overlay.mp4') as video:
        assert [stream.type for stream in video.streams] == ['video', 'audio']
        assert abs(video.duration / av.time_base - 5) < 0.1

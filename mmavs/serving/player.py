"""The player of the page: overlay videos, timeline of classes and spectrogram, in step."""
from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import gradio as gr

from .messages import CONDITIONS, VideoResult

ASSETS = Path(__file__).parent / 'assets'


VALUE = dict(
    type='object',
    description='id, duration in seconds, spectrogram (a file), expected (names of the audio conditions), and '
    'conditions: for each its overlay (a file), covered (mean share of the frame) and bands (name, color and times of '
    'a class: start, end, share)')


def make_player() -> gr.HTML:
    """Make the component that shows a result; ``assets/player.js`` builds its parts.

    It is not a class of its own, because Gradio writes a file of types beside the module of each.
    """
    player = gr.HTML(html_template='<div class="mmavs-player"></div>', label='Result', min_height=200,
                     js_on_load=(ASSETS / 'player.js').read_text(encoding='utf-8'))
    player.api_info = lambda: VALUE  # for the documentation of the API
    return player


def player_value(result: VideoResult, compared: bool) -> dict:
    """Convert a result to the value of the player; files are marked for Gradio."""
    value = asdict(result)
    del value['files'], value['notes'], value['complete']
    value.update(
        # The directory of the job: results of one job have one id.
        id=result.conditions[0].overlay.parents[1].name,
        expected=list(CONDITIONS if compared else CONDITIONS[:1]),
        spectrogram=result.spectrogram and _file(result.spectrogram),
        conditions=[dict(shown, overlay=_file(shown['overlay'])) for shown in value['conditions']])
    return value


def _file(path: Path) -> dict:
    return dict(path=str(path), meta=dict(_type='gradio.FileData'))

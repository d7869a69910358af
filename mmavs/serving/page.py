"""The page of the server, and the same as an API."""
from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import gradio as gr

from .jobs import JobRunner
from .messages import Progress, VideoResult
from .player import ASSETS, make_player, player_value
from .request_guard import ARRIVAL
from .worker_pool import JobError

#: Results to download: kind, label of the button.
DOWNLOADS = (('overlay', 'Overlay'), ('png', 'Masks (PNG)'), ('rle', 'Masks (RLE)'),
             ('cutout', 'Cut-out'), ('csv', 'Table (CSV)'))
#: Fonts of the user's system: the page asks no other server for any.
FONTS = ('system-ui', 'sans-serif')
RANDOM_WEIGHTS = ('**The weights of this model are random: its masks have no meaning.** Start the server with a '
                  'checkpoint: `mmavs serve CONFIG CHECKPOINT`, or run `make demo` first.')


def make_page(runner: JobRunner, examples: list[Path]) -> gr.Blocks:
    """Build the page.

    Args:
        runner: What runs the jobs.
        examples: Example videos.
    """
    models, limits = runner.pool.models, runner.limits

    def segment(video: str | None, model: str, fps: float, compared: bool, request: gr.Request,
                progress: gr.Progress = gr.Progress()) -> Iterator:  # noqa: B008 - Gradio's way to ask for it
        """Segment the sounding objects of a video."""
        waited = max(0.0, time.monotonic() - float(request.headers[ARRIVAL]))
        try:
            with closing(runner.run(video and Path(video), model, fps, compared, waited)) as messages:
                for message in messages:
                    if isinstance(message, Progress):
                        progress(message.fraction, message.text)
                    # Between two of them, Gradio can cancel the job.
                    yield (_show(message, compared) if isinstance(message, VideoResult) else
                           (gr.skip(), ) * (2 + len(DOWNLOADS)))
        except JobError as error:
            raise gr.Error(str(error), print_exception=False) from None

    with gr.Blocks(title='mmavs', analytics_enabled=False) as page:
        gr.Markdown('# Segment what sounds\nChoose a video: every object that sounds gets a mask. Then mute or swap '
                    'the audio and see how the masks follow it.')
        warning = gr.Markdown(RANDOM_WEIGHTS, visible=models[0].random, elem_classes='mmavs-warning')
        with gr.Row(equal_height=False):
            with gr.Column(scale=2, min_width=320):
                video = gr.Video(label='Video', sources=['upload', 'webcam'], include_audio=True, height=280,
                                 webcam_options=gr.WebcamOptions(mirror=False), elem_classes='mmavs-video')
                if examples:
                    gr.Examples([[str(example)] for example in examples], [video], label='Examples',
                                example_labels=[f'Example {k}' for k in range(1, len(examples) + 1)])
                model = gr.Dropdown([model.name for model in models], value=models[0].name, label='Model',
                                    interactive=len(models) > 1)
                fps = gr.Slider(1, limits.frames_per_second, value=min(2, limits.frames_per_second), step=1,
                                label='Frames per second', info='The models were trained with 1; more takes longer.')
                compared = gr.Checkbox(True, label='Also segment with muted and swapped audio')
                with gr.Row():
                    start = gr.Button('Segment', variant='primary')
                    cancel = gr.Button('Cancel', variant='stop', interactive=False)
                gr.Markdown(limits.describe(), elem_classes='mmavs-note')
            with gr.Column(scale=3, min_width=320):
                player = make_player()
                notes = gr.Markdown(label='Notes', elem_classes='mmavs-note')
                with gr.Row():
                    downloads = [gr.DownloadButton(label, interactive=False, min_width=130, size='md')
                                 for _, label in DOWNLOADS]
        # First: the browser sends the requests of an event one after the other, and the next one ends with the job.
        start.click(lambda: gr.Button(interactive=True), None, cancel, queue=False, api_visibility='private')
        job = start.click(
            segment, [video, model, fps, compared], [player, notes, *downloads], api_name='segment',
            api_description='Segment the sounding objects of a video.', concurrency_limit=limits.concurrent_jobs,
            concurrency_id='jobs', show_progress_on=[player])
        player.change(lambda: [gr.DownloadButton(interactive=True)] * len(DOWNLOADS), None, downloads, queue=False,
                      api_visibility='private', show_progress='hidden')
        job.then(lambda: gr.Button(interactive=False), None, cancel, queue=False, api_visibility='private')
        cancel.click(lambda: (gr.Button(interactive=False), 'The job was cancelled.'), None, [cancel, notes],
                     cancels=[job], queue=False, api_visibility='private')
        if any(model.random for model in models):
            random = {model.name for model in models if model.random}
            model.change(lambda name: gr.Markdown(visible=name in random), model, warning, queue=False,
                         api_visibility='private')
    page.queue(max_size=limits.queued_jobs)
    return page


def page_style() -> dict:
    """Arguments of ``gradio.mount_gradio_app`` for the look of the page."""
    theme = gr.themes.Default(font=[gr.themes.Font(name) for name in FONTS],
                              font_mono=[gr.themes.Font('monospace')])
    return dict(theme=theme, css_paths=[ASSETS / 'player.css', ASSETS / 'page.css'])


def _show(result: VideoResult, compared: bool) -> tuple:
    notes = '\n'.join(f'- {note}' for note in result.notes)
    return player_value(result, compared), notes, *(str(result.files[kind]) for kind, _ in DOWNLOADS)

"""Segment an uploaded video in a worker process: checks, audio conditions, and the files of the page."""
from __future__ import annotations

import csv
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np

from mmavs.apis import AVSInferencer
from mmavs.apis.outputs import OUTPUTS
from mmavs.apis.video_source import MUTED
from mmavs.audio.log_mel import LOG_OFFSET, SAMPLE_RATE
from mmavs.utils.files import atomic_write
from mmavs.utils.image_files import write_image
from mmavs.video import AudioTrack, ResampledAudio, open_video, probe_video, start_time
from mmavs.video.container import video_stream
from mmavs.visualization.avs_visualizer import draw_spectrogram

from .limits import Limits
from .messages import CONDITIONS, ClassBand, ClassTime, ConditionResult, Job, Progress, StageTime, VideoResult

#: Outputs of an audio condition; the other files are those of the original audio.
SHOWN = ('overlay', 'csv')
DOWNLOADED = ('overlay', 'csv', 'png', 'coco', 'cutout')
# Seconds by which the header of a file may understate its duration.
SECONDS_TOLERANCE = 1.0
Report = Callable[[object], None]


def segment_video(inferencer: AVSInferencer, job: Job, limits: Limits, report: Report) -> None:
    """Segment the video of a job and report progress, the times of the stages and the results.

    Args:
        inferencer: The model.
        job: The job.
        limits: Limits of the video.
        report: Called with :class:`Progress`, :class:`StageTime` and, after each condition, :class:`VideoResult`. An
            exception of it ends the job.

    Raises:
        FileNotFoundError, ValueError: The video cannot be used, or is beyond the limits.
    """
    with _timed('check', report):
        report(Progress(0, 'reading the video'))
        check_video(job.video, limits)
    result = VideoResult(0)
    conditions = CONDITIONS if job.compared else CONDITIONS[:1]
    for number, condition in enumerate(conditions):
        out_dir = job.out_dir / condition
        with _timed('segment', report):
            num_frames = _segment(inferencer, job, condition, out_dir, number / len(conditions),
                                  1 / len(conditions), limits, report)
        with _timed('pack', report):
            if condition == 'original':
                result = replace(result, duration=num_frames / job.fps, files=_pack(out_dir, job.out_dir),
                                 spectrogram=write_spectrogram(job, num_frames / job.fps))
            bands = read_bands(out_dir / OUTPUTS['csv'].file, job.fps, inferencer)
            covered = sum(span.share * (span.end - span.start) for band in bands for span in band.times)
            shown = ConditionResult(condition, out_dir / OUTPUTS['overlay'].file, bands, covered / result.duration)
            result = replace(result, conditions=[*result.conditions, shown],
                             complete=number == len(conditions) - 1)
        report(result)


def check_video(path: Path, limits: Limits) -> None:
    """Check the size of the frames by the header, before a frame is decoded, and the duration.

    Raises:
        FileNotFoundError, ValueError: The video cannot be read, or is beyond the limits.
    """
    with open_video(path) as container:
        stream = video_stream(container, path)
        _check_size(path, stream.width, stream.height, limits)
    properties = probe_video(path)
    height, width = properties.size
    _check_size(path, width, height, limits)
    _check_seconds(path, properties.duration, limits)


def _check_size(path: Path, width: int, height: int, limits: Limits) -> None:
    if width * height > limits.frame_pixels:
        raise ValueError(f'{path}: frames of {width}x{height} pixels, expected at most {limits.frame_pixels} pixels: '
                         'make the video smaller')


def _check_seconds(path: Path, seconds: float | None, limits: Limits) -> None:
    if seconds is not None and seconds > limits.video_seconds + SECONDS_TOLERANCE:
        raise ValueError(f'{path}: {seconds:.1f} seconds, expected at most {limits.video_seconds:g}: cut the video')


def _segment(inferencer: AVSInferencer, job: Job, condition: str, out_dir: Path, begin: float, part: float,
             limits: Limits, report: Report) -> int:
    """Write the outputs of a condition and return the number of frames."""
    last = 0.0

    def show(seconds: float, duration: float | None) -> None:
        nonlocal last
        last = seconds
        # The header of a file may state another duration than it has.
        _check_seconds(job.video, seconds, limits)
        fraction = min(1, seconds / duration) if duration else 0
        report(Progress(begin + part * fraction, f'{condition} audio: {seconds:.0f} seconds segmented'))

    audio = {'original': None, 'muted': MUTED, 'swapped': job.swapped_audio}[condition]
    outputs = DOWNLOADED if condition == 'original' else SHOWN
    inferencer.write(job.video, out_dir, outputs, job.fps, on_progress=show, audio=audio)
    return int(last * job.fps) + 1


def _pack(directory: Path, out_dir: Path) -> dict[str, Path]:
    """Name the files to download; put the masks into one."""
    masks, labels = out_dir / 'masks_png.zip', directory / OUTPUTS['coco'].file / 'labels.json'
    with atomic_write(masks) as partial, zipfile.ZipFile(partial, 'w') as archive:
        for image in sorted((directory / OUTPUTS['png'].file).iterdir()):
            archive.write(image, f'masks/{image.name}')
    rle = out_dir / 'masks_rle.json'
    labels.replace(rle)
    return dict(png=masks, rle=rle, **{name: directory / OUTPUTS[name].file for name in ('overlay', 'csv', 'cutout')})


def read_bands(table: Path, fps: float, inferencer: AVSInferencer) -> list[ClassBand]:
    """Read when each class sounds from the table of an output ``csv``, in the order of appearance."""
    shares: dict[str, dict[int, float]] = {}
    with table.open(newline='', encoding='utf-8') as file:
        for row in csv.DictReader(file):
            # A frame at 15/16 of its interval: rounding cannot move it out of it.
            shares.setdefault(row['class'], {})[int(float(row['time']) * fps)] = float(row['share'])
    classes = list(inferencer.model.dataset_meta.get('classes', ()))
    palette = inferencer.visualizer.palette
    labels = {name: classes.index(name) if name in classes else int(name.split()[-1]) for name in shares}
    return [ClassBand(name, '#' + bytes(map(int, palette[labels[name]])).hex(),
                      [ClassTime(begin / fps, end / fps, float(np.mean([shares[name][k] for k in range(begin, end)])))
                       for begin, end in _runs(sorted(shares[name]))]) for name in shares]


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Yield begin and end of the runs of consecutive numbers."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    for run in np.split(np.array(numbers), breaks):
        yield int(run[0]), int(run[-1]) + 1


def write_spectrogram(job: Job, seconds: float) -> Path | None:
    """Write the log-mel spectrogram of the original audio, whose width is the time; None without an audio track."""
    with open_video(job.video) as container:
        if not container.streams.audio:
            return None
    with closing(ResampledAudio(AudioTrack(job.video, start_time(job.video)), SAMPLE_RATE)) as audio:
        log_mel = draw_spectrogram(seconds, audio.section(0, round(seconds * SAMPLE_RATE)), SAMPLE_RATE)
    floor = np.log(LOG_OFFSET)
    level = (log_mel - floor) / max(5, log_mel.max() - floor)
    image = matplotlib.colormaps['magma'](np.clip(level[::-1], 0, 1), bytes=True)[..., :3]
    path = job.out_dir / 'spectrogram.png'
    write_image(path, image)
    return path


@contextmanager
def _timed(stage: str, report: Report) -> Iterator[None]:
    begin = time.monotonic()
    yield
    report(StageTime(stage, time.monotonic() - begin))

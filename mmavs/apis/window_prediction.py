"""Predict a video window by window, each as a clip of the training."""
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from fractions import Fraction
from itertools import groupby, islice
from numbers import Real
from threading import Lock
from typing import Protocol

import numpy as np
import torch
from mmcv.transforms import BaseTransform, Compose
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.registry import TRANSFORMS
from mmavs.structures import AVSDataSample
from mmavs.utils.config import find_clip_dataset

from .clip_windows import ClipWindow, WindowCutter
from .evaluation_mode import evaluation_mode
from .read_ahead import read_ahead

# Transforms of a test pipeline that inference skips because they generate targets. It also skips those that read files,
# which have a ``path_key``.
TARGET_TRANSFORMS = ('GenerateEventLabels', )
# Transforms of the audio of a window; all others transform frames, one at a time.
AUDIO_TRANSFORMS = ('FlipAudio', 'MuteAudio')
# Frames of a clip in training if neither checkpoint nor dataset state it: those of the longest published clips.
DEFAULT_CLIP_LENGTH = 10
# Windows of a long video are predicted in batches of this many frames, the length of the longest published clips.
FRAMES_PER_BATCH = 10
# MMEngine restores the scopes as they were: of two threads, one would keep that of the other.
_scope_lock = Lock()


class AudioSections(Protocol):
    """Audio of a video at 16 kHz, from which sections are read."""

    def section(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop``, (L,), or (2, L) in stereo; fewer if the audio ends before."""

    def forget(self, start: int) -> None:
        """Samples before ``start`` are not read anymore."""


class WindowPredictor:
    """Predict a video window by window, with the test pipeline of the model's config.

    The pipeline gets one frame at a time, so its transforms must not relate the frames of a clip. From then on only
    the network's input is kept, which is small: later windows of a video may take frames of many seconds ago.

    Args:
        model: A model of :func:`mmavs.apis.init_model`.

    Attributes:
        clip_length: Frames of a window, ``model.dataset_meta['clip_length']``.
        stereo: Whether the model takes two channels.

    Raises:
        ValueError: The model has no config with a test pipeline.
    """

    def __init__(self, model: BaseModel) -> None:
        self.model = model
        transforms = _test_transforms(model)
        self._mark_end = any(getattr(transform, 'mark_end', False) for transform in transforms)
        in_memory = [transform for transform in transforms if _works_in_memory(transform)]
        self._transform_frame = Compose([transform for transform in in_memory if not _is_of_audio(transform)])
        self._transform_audio = Compose([transform for transform in in_memory if _is_of_audio(transform)])
        self.clip_length = (getattr(model, 'dataset_meta', None) or {}).get('clip_length', DEFAULT_CLIP_LENGTH)
        self.stereo = model.audio_backbone.stereo
        self._seconds_per_frame = model.audio_backbone.examples_per_frame

    def cutter(self, fps: Real) -> WindowCutter:
        """Return what cuts a video of ``fps`` frames per second into the windows of the model."""
        return WindowCutter(fps, self.clip_length, self.model.independent_frames)

    def audio_span(self, window: ClipWindow, lead: Real = 0) -> tuple[int, int]:
        """First sample and end of the audio of a window.

        Args:
            window: The window.
            lead: Seconds by which the audio begins before the first frame, unless that is before the video.
        """
        start = max(0, round((window.start - Fraction(lead)) * SAMPLE_RATE))
        return start, start + len(window.frames) * self._seconds_per_frame * SAMPLE_RATE

    def predict(self,
                frames: Iterable[np.ndarray],
                audio: AudioSections,
                fps: Real,
                lead: Real = 0,
                mask_prior: Callable[[int, np.ndarray], np.ndarray] | None = None,
                outputs: Sequence[str] | None = None,
                prob_dtype: torch.dtype = torch.float32,
                batch_size: int | None = None,
                frames_ahead: int = 0) -> Iterator[tuple[ClipWindow, AVSDataSample]]:
        """Predict the windows of a video, as soon as their frames are there.

        Args:
            frames: Frames (H, W, 3) uint8 RGB of one size, taken one after the other; of these, only the network's
                input is kept, until no later window takes it.
            audio: The audio.
            fps: Frames per second.
            lead: As for :meth:`audio_span`.
            mask_prior: Function that returns the mask prior of a frame, (h, w, 3) uint8 RGB, from its index and the
                frame. It is called once for each frame, in order; mask priors are kept as long as their frames.
            outputs: Predictions to return, as for :func:`mmavs.apis.inference_clip`.
            prob_dtype: As for :func:`mmavs.apis.inference_clip`.
            batch_size: Windows that are predicted at once; None: as many as have 10 frames.
            frames_ahead: Frames that a thread takes and transforms while the model predicts; 0: no thread.

        Yields:
            The windows and their predictions. Close the generator if it is not used up: that ends the thread.
        """
        packed = (self._pack_frame(frame, mask_prior and mask_prior(k, frame)) for k, frame in enumerate(frames))
        with ExitStack() as stack:
            if frames_ahead:
                packed = stack.enter_context(closing(read_ahead(packed, frames_ahead)))
            for batch in _batches(self._pack_windows(packed, audio, fps, lead), batch_size):
                windows, clips = zip(*batch)
                yield from zip(windows, self._predict_batch(clips, outputs, prob_dtype))

    def _pack_frame(self, frame: np.ndarray, prior: np.ndarray | None) -> dict:
        """Run the pipeline on a frame: a clip of length 1 without audio."""
        results = dict(
            frames=[frame],
            ori_shape=frame.shape[:2],
            clip_id='clip',
            subset=None,
            category=None,
            frame_paths=[None],
            valid=[True],
            labelled=[False])
        if prior is not None:
            results['mask_prior'] = [prior]
        return self._transform_frame(results)

    def _pack_windows(self, frames: Iterable[dict], audio: AudioSections, fps: Real,
                      lead: Real) -> Iterator[tuple[ClipWindow, dict]]:
        """Cut the video into windows, and join their frames and their audio as clips."""
        cutter, kept, num_frames = self.cutter(fps), {}, 0

        def pack(window: ClipWindow) -> tuple[ClipWindow, dict]:
            return window, _join_clip([kept[k] for k in window.frames], self._read_audio(audio, window, lead))

        for num_frames, frame in enumerate(frames, 1):
            kept[num_frames - 1] = frame
            oldest = cutter.oldest
            yield from map(pack, cutter.cut(num_frames, ended=False))
            if cutter.oldest > oldest:
                for k in range(oldest, cutter.oldest):
                    kept.pop(k, None)
                audio.forget(max(0, round((cutter.oldest / cutter.step - Fraction(lead)) * SAMPLE_RATE)))
        yield from map(pack, cutter.cut(num_frames, ended=True))

    def _read_audio(self, audio: AudioSections, window: ClipWindow, lead: Real) -> dict:
        """Audio of a window, padded with silence; with the number of recorded samples if the end is marked."""
        start, stop = self.audio_span(window, lead)
        recorded = audio.section(start, stop)
        missing = stop - start - recorded.shape[-1]
        results = dict(waveform=np.pad(recorded, [*[(0, 0)] * (recorded.ndim - 1), (0, missing)]))
        results = self._transform_audio(results)
        return dict(results, num_samples=recorded.shape[-1]) if self._mark_end else results

    def _predict_batch(self, clips: Sequence[dict], outputs: Sequence[str] | None,
                       prob_dtype: torch.dtype) -> list[AVSDataSample]:
        with evaluation_mode(self.model), torch.no_grad():
            inputs = self.model.data_preprocessor({key: [clip[key] for clip in clips] for key in clips[0]})
            return self.model(**inputs, mode='predict', outputs=outputs, prob_dtype=prob_dtype)


def _join_clip(frames: Sequence[dict], audio: dict) -> dict:
    """Join packed frames, clips of length 1, and their audio as one clip."""
    inputs = {key: torch.cat([frame['inputs'][key] for frame in frames]) for key in frames[0]['inputs']}
    audio = {key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for key, value in audio.items()}
    sample = AVSDataSample(metainfo=frames[0]['data_samples'].metainfo)
    for key in ('valid', 'labelled'):
        sample.set_data({key: torch.cat([frame['data_samples'].get(key) for frame in frames])})
    return dict(inputs=dict(inputs, **audio), data_samples=sample)


def _batches(packed: Iterator[tuple[ClipWindow, dict]],
             batch_size: int | None) -> Iterator[list[tuple[ClipWindow, dict]]]:
    """Group consecutive windows of the same length into batches, by default of about ``FRAMES_PER_BATCH`` frames."""
    for length, group in groupby(packed, lambda pair: len(pair[0].frames)):
        while batch := list(islice(group, batch_size or max(1, FRAMES_PER_BATCH // length))):
            yield batch


def _test_transforms(model: BaseModel) -> list[BaseTransform]:
    """Build the test pipeline of the model's config."""
    config = getattr(model, 'cfg', None)
    if config is None or 'test_dataloader' not in config:
        raise ValueError('the model has no config with a test_dataloader, whose pipeline is needed: make the model '
                         'with init_model')
    _, dataset = find_clip_dataset(config, 'test')
    with _scope_lock, DefaultScope.overwrite_default_scope('mmavs'):
        return [TRANSFORMS.build(dict(transform)) for transform in dataset.pipeline]


def _works_in_memory(transform: BaseTransform) -> bool:
    return not hasattr(transform, 'path_key') and type(transform).__name__ not in TARGET_TRANSFORMS


def _is_of_audio(transform: BaseTransform) -> bool:
    return type(transform).__name__ in AUDIO_TRANSFORMS

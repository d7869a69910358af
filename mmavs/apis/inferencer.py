"""Segment the sounding objects of video files."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.model import BaseModel
from torch import Tensor

from mmavs.registry import INFERENCERS
from mmavs.structures import AVSDataSample
from mmavs.visualization import AVSVisualizer

from .exported_model import is_exported_model, load_exported_model
from .inference import check_mask_prior
from .model import init_model
from .output_pipeline import run_pipeline
from .outputs import OUTPUTS, OutputContext, output_paths
from .video_chunk import VideoChunk
from .video_source import VideoSource, list_inputs, open_source
from .window_prediction import WindowPredictor


@INFERENCERS.register_module()
class AVSInferencer(BaseInferencer):
    """Segment the sounding objects of videos: ``AVSInferencer('vct_swin-b_avss', 'CHECKPOINT')('video.mp4')``.

    Frames and audio are placed by their timestamps: time 0 is that of the first frame, audio that begins later is
    preceded by silence. ``fps`` frames per second are segmented. Each gets the second of audio that a frame at its
    place gets in training: frame k of AVSBench is at 15/16 of the audio second k. With ``fps=1`` these frames are
    taken. With more, the windows of a clip method interleave, as for :func:`mmavs.apis.inference_clip`, and their audio
    begins 15/16 s before their first frame, or with the video.

    Args:
        model: Name of a model of the zoo, config file, config, a model of :func:`mmavs.apis.init_model`, or a file of
            :func:`mmavs.apis.export_model` (``.onnx``, ``.pt``).
        weights: Checkpoint of the whole model; None leaves the weights random, with a warning.
        device: Device of the model; None: the GPU if there is one, else the CPU, or where a given model is.

    Raises:
        ConfigError, FileNotFoundError, ValueError: As for :func:`mmavs.apis.init_model`; ValueError: weights are given
            for a model that is built.
    """
    preprocess_kwargs = {'fps'}
    forward_kwargs = {'return_prob'}
    visualize_kwargs = {'vis_out_dir'}
    postprocess_kwargs = {'pred_out_dir'}

    def __init__(self,
                 model: str | Path | Config | BaseModel,
                 weights: str | Path | None = None,
                 device: str | torch.device | None = None) -> None:
        if isinstance(model, BaseModel):
            if weights is not None:
                raise ValueError(f'weights are {weights}, but the model is built: load them with init_model')
            self.model = model if device is None else model.to(device)
        elif is_exported_model(model):
            if weights is not None:
                raise ValueError(f'weights are {weights}, but {model} is an exported model, which holds its own')
            self.model = load_exported_model(model, device)
        else:
            self.model = init_model(model, weights, device)
        self.cfg = self.model.cfg
        self.pipeline = self._init_pipeline(self.cfg)
        self.visualizer = AVSVisualizer()
        self.visualizer.dataset_meta = self.model.dataset_meta
        # Of BaseInferencer: its bar would count videos.
        self.show_progress = False

    def __call__(self,
                 inputs: str | Path | dict | Sequence[str | Path | dict],
                 return_datasamples: bool = False,
                 batch_size: int | None = None,
                 fps: Real | str = 1,
                 return_prob: bool = False,
                 vis_out_dir: str | Path | None = None,
                 pred_out_dir: str | Path | None = None) -> dict:
        """Segment videos as a whole; for long ones see :meth:`stream` and :meth:`write`.

        Args:
            inputs: A video file of any format that FFmpeg reads, a URL that it opens, a directory of videos, a clip in
                memory ``dict(frames=, waveform=, rate=)`` (see :func:`mmavs.apis.inference_clip`), or a list of these.
            return_datasamples: Whether predictions are :class:`AVSDataSample` instead of dicts.
            batch_size: Windows that the model gets at once; None: as many as have 10 frames.
            fps: Frames per second to segment: 1, as the models were trained, another number, or 'native' for all frames
                of a video. For clips in memory, the frames per second that they have.
            return_prob: Whether to return the probability of the foreground.
            vis_out_dir: Directory for overlay videos with the audio, ``NAME/overlay.mp4``.
            pred_out_dir: Directory for masks, as indexed PNG ``NAME/masks/00000.png`` and ``NAME/masks.npz``.

        Returns:
            ``predictions``, a list with a dict for each video: ``video``, its path; ``fps``; ``times`` (T,), seconds
            from its first frame; ``masks`` (T, H, W) uint8, class of every pixel; on request ``foreground_prob``
            (T, H, W) float16. And ``visualization``, the paths of the overlay videos.

        Raises:
            FileNotFoundError, TypeError, ValueError: An input cannot be used; the message names the file.
        """
        return super().__call__(
            inputs, return_datasamples, batch_size, fps=fps, return_prob=return_prob, vis_out_dir=vis_out_dir,
            pred_out_dir=pred_out_dir)

    def stream(self,
               video: str | Path | dict,
               fps: Real | str = 1,
               return_prob: bool = False,
               batch_size: int | None = None) -> Iterator[VideoChunk]:
        """Segment a video chunk by chunk, with memory that does not depend on its duration.

        The chunks put together are the result of the whole video. A chunk is a number of complete windows, for example
        5 frames of an S4 model with ``fps=1``, or 125 with ``fps=25``. The last windows of the video, which are moved
        back until they are complete (:func:`mmavs.apis.clip_windows.cut_into_windows`), take frames that were yielded
        before as context; those are kept until then. Memory holds the frames of about two such chunks.

        Args:
            video: A video file or URL, or a clip in memory.
            fps: As for calling the inferencer.
            return_prob: As for calling the inferencer.
            batch_size: As for calling the inferencer.

        Yields:
            The chunks, in order.
        """
        yield from self._predict(self._open(video, fps), return_prob, batch_size)

    def write(self,
              video: str | Path | dict,
              out_dir: str | Path,
              outputs: Sequence[str] = ('overlay', 'png'),
              fps: Real | str = 1,
              batch_size: int | None = None) -> list[Path]:
        """Segment a video chunk by chunk and write the results, with memory that does not depend on its duration.

        Args:
            video: As for :meth:`stream`.
            out_dir: Directory of the results of this video.
            outputs: 'overlay': ``overlay.mp4``, the masks on the frames, with the audio track of the video, copied;
                'png': ``masks/00000.png`` and so on, the class of every pixel with the palette of the dataset, or 0 and
                255 for one foreground class; 'npz': ``masks.npz`` with ``masks`` (T, H, W) uint8, ``times`` (T,) and
                ``classes``. Each appears under its name when it is complete.
            fps: As for calling the inferencer.
            batch_size: As for calling the inferencer.

        Returns:
            Paths of the results, as :func:`output_paths`.

        Raises:
            FileNotFoundError, TypeError, ValueError: The video cannot be used, or an output is unknown.
        """
        paths = output_paths(out_dir, outputs)
        source = self._open(video, fps)
        context = self._output_context(source)
        consumers = [partial(OUTPUTS[output].write, path, context=context) for output, path in paths.items()]
        needs_prob = any(OUTPUTS[output].needs_prob for output in paths)
        run_pipeline(self._predict(source, needs_prob, batch_size), consumers)
        return list(paths.values())

    def preprocess(self,
                   inputs: list[str | Path | dict],
                   batch_size: int | None = None,
                   fps: Real | str = 1) -> Iterator[tuple[VideoSource, int | None]]:
        """Open one input after the other."""
        for item in inputs:
            yield self._open(item, fps), batch_size

    def forward(self,
                inputs: tuple[VideoSource, int | None],
                return_prob: bool = False) -> list[tuple[VideoSource, dict]]:
        """Predict a video as a whole."""
        source, batch_size = inputs
        parts = [(chunk.masks, chunk.times, chunk.foreground_prob)
                 for chunk in self._predict(source, return_prob, batch_size)]
        masks, times, probs = zip(*parts)
        result = dict(
            video=source.name, fps=float(source.fps), times=np.concatenate(times), masks=np.concatenate(masks))
        if return_prob:
            result['foreground_prob'] = np.concatenate(probs)
        return [(source, result)]

    def visualize(self,
                  inputs: list[str | Path | dict],
                  preds: list[tuple[VideoSource, dict]],
                  vis_out_dir: str | Path | None = None) -> list[Path]:
        """Write overlay videos; this reads the frames again."""
        if vis_out_dir is None:
            return []
        paths = []
        for (source, result), name in zip(preds, result_names([source.name for source, _ in preds])):
            paths.append(output_paths(Path(vis_out_dir) / name, ['overlay'])['overlay'])
            chunks = (VideoChunk(t, np.array([time]), [frame], result['masks'][t:t + 1])
                      for t, (time, frame) in enumerate(source.open_frames()))
            OUTPUTS['overlay'].write(paths[-1], chunks, self._output_context(source))
        return paths

    def postprocess(self,
                    preds: list[tuple[VideoSource, dict]],
                    visualization: list[Path],
                    return_datasamples: bool = False,
                    pred_out_dir: str | Path | None = None) -> dict:
        """Write masks, and pack the predictions."""
        results = [result for _, result in preds]
        if pred_out_dir is not None:
            for (source, result), name in zip(preds, result_names([result['video'] for result in results])):
                whole = VideoChunk(0, result['times'], [], result['masks'])
                for output, path in output_paths(Path(pred_out_dir) / name, ['png', 'npz']).items():
                    OUTPUTS[output].write(path, [whole], self._output_context(source))
        return dict(
            predictions=[_to_sample(result) for result in results] if return_datasamples else results,
            visualization=visualization)

    def _output_context(self, source: VideoSource) -> OutputContext:
        return OutputContext(self.model.dataset_meta, self.visualizer.palette, source.fps, source.overlay_audio)

    def _init_pipeline(self, cfg: Config) -> WindowPredictor:
        return WindowPredictor(self.model)

    def _inputs_to_list(self, inputs: str | Path | dict | Sequence[str | Path | dict]) -> list[str | Path | dict]:
        return list_inputs(inputs)

    def _open(self, item: str | Path | dict, fps: Real | str) -> VideoSource:
        """Open a video or a clip in memory.

        Raises:
            FileNotFoundError, TypeError, ValueError: As for :func:`mmavs.apis.video_source.open_source`.
        """
        if getattr(self.model, 'mask_prior', None) is not None:
            # Raises the error of a missing mask prior.
            check_mask_prior(self.model, 0, None)
        return open_source(item, fps, self.pipeline)

    def _predict(self, source: VideoSource, return_prob: bool, batch_size: int | None) -> Iterator[VideoChunk]:
        """Predict the windows of a video and put their frames in order."""
        kept: dict[int, tuple[float, np.ndarray]] = {}
        predicted: dict[int, tuple[Tensor, ...]] = {}

        def keep(timed_frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[np.ndarray]:
            for k, (time, frame) in enumerate(timed_frames):
                kept[k] = time, frame
                yield frame

        def take(start: int, stop: int) -> VideoChunk:
            fields = zip(*(predicted.pop(k) for k in range(start, stop)))
            masks, *prob = (torch.stack(field).cpu().numpy() for field in fields)
            times, frames = zip(*(kept.pop(k) for k in range(start, stop)))
            return VideoChunk(start, np.array(times), list(frames), masks, *prob)

        outputs = ('pred_sem_seg', 'foreground_prob') if return_prob else ('pred_sem_seg', )
        windows = self.pipeline.predict(
            keep(source.open_frames()), source.audio, source.fps, source.lead, outputs=outputs,
            prob_dtype=torch.float16, batch_size=batch_size)
        start = stop = 0
        for window, sample in windows:
            for t in np.flatnonzero(window.new):
                predicted[int(window.frames[t])] = tuple(sample.get(name)[t] for name in outputs)
            while stop in predicted:
                stop += 1
            # Interleaved windows fill each other's gaps: wait for all of them. Some fractional rates always leave gaps.
            if stop - start == len(predicted) or stop - start >= self.pipeline.clip_length * source.fps:
                yield take(start, stop)
                start = stop
        if stop == 0:
            raise ValueError(f'{source.name}: the video holds no frame')
        if start < stop:
            yield take(start, stop)


def result_names(videos: Sequence[str | Path]) -> list[str]:
    """Names of the result directories of videos: their file names without suffix.

    Raises:
        ValueError: Two videos have one name.
    """
    first, names = {}, []
    for video in map(str, videos):
        name = Path(video.partition('?')[0]).stem
        if first.setdefault(name, video) != video:
            raise ValueError(f'{first[name]} and {video} have the same name, the name of their results: rename '
                             'one')
        names.append(name)
    return names


def _to_sample(result: dict) -> AVSDataSample:
    shape = result['masks'].shape[1:]
    meta = dict(clip_id=result['video'], fps=result['fps'], times=result['times'], ori_shape=shape, out_shape=shape)
    sample = AVSDataSample(metainfo=meta, pred_sem_seg=torch.from_numpy(result['masks']))
    if 'foreground_prob' in result:
        sample.foreground_prob = torch.from_numpy(result['foreground_prob'])
    return sample

"""Segment the sounding objects of video files."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.infer import BaseInferencer
from mmengine.model import BaseModel

from mmavs.registry import INFERENCERS
from mmavs.structures import AVSDataSample
from mmavs.utils.export_formats import is_exported_model
from mmavs.visualization import AVSVisualizer

from .chunk_prediction import predict_chunks
from .exported_model import load_exported_model
from .mask_priors import MaskPriorOption, open_mask_prior
from .model import init_model
from .output_pipeline import run_pipeline
from .outputs import OUTPUTS, OutputContext, check_output_paths, output_paths
from .result_names import result_names
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
        mask_prior: For models with a mask-prior branch, what makes the mask prior of each frame: 'none' (constant
            gray), 'sam', 'sam2', another SAM of the Hugging Face Hub, its local directory, the directory of mask priors
            that ``make_mask_priors.py`` wrote, or a :class:`MaskPriorGenerator`.
        precision: Type that predictions are computed in, as for :func:`mmavs.apis.init_model`. With ``compile`` it is
            for models that are built here; ``accelerate`` of a given model sets both.
        compile: Whether to compile the model, as for :func:`mmavs.apis.init_model`.

    Raises:
        ConfigError, FileNotFoundError, ValueError: As for :func:`mmavs.apis.init_model`; ValueError: weights are given
            for a model that is built, or precision or compile for one that is built or exported.
        ImportError, OSError, ValueError: As for :func:`mmavs.apis.mask_priors.open_mask_prior`.
    """
    preprocess_kwargs = {'fps'}
    forward_kwargs = {'return_prob'}
    visualize_kwargs = {'vis_out_dir'}
    postprocess_kwargs = {'pred_out_dir'}

    def __init__(self,
                 model: str | Path | Config | BaseModel,
                 weights: str | Path | None = None,
                 device: str | torch.device | None = None,
                 mask_prior: MaskPriorOption | None = None,
                 precision: str = 'fp32',
                 compile: bool = False) -> None:
        if (precision, compile) != ('fp32', False) and (isinstance(model, BaseModel) or is_exported_model(model)):
            raise ValueError(f'precision is {precision!r} and compile {compile}, expected the defaults: an exported '
                             'model computes as it was exported, and a model that is built is set by its accelerate()')
        if isinstance(model, BaseModel):
            if weights is not None:
                raise ValueError(f'weights are {weights}, but the model is built: load them with init_model')
            self.model = model if device is None else model.to(device)
        elif is_exported_model(model):
            if weights is not None:
                raise ValueError(f'weights are {weights}, but {model} is an exported model, which holds its own')
            self.model = load_exported_model(model, device)
        else:
            self.model = init_model(model, weights, device, precision=precision, compile=compile)
        self.mask_prior = open_mask_prior(mask_prior, self.model, device)
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
            inputs: A video file of any format that FFmpeg reads, a URL that it opens, a directory of videos, a pattern
                of file names, a directory of frames with an audio file, a clip in memory
                ``dict(frames=, waveform=, rate=)`` (see :func:`mmavs.apis.inference_clip`), or a list of these.
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

        The chunks put together are the result of the whole video. A chunk has at most as many frames as a window, for
        example 5 for an S4 model. At more than one frame per second the windows interleave: the first chunks come after
        ``clip_length`` seconds of video, whose masks wait in memory. If more than 32 frames would wait as well, the
        video is read twice instead. A thread reads ahead while the model predicts; it ends with the generator, which
        is to be closed if it is not used up.

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
              batch_size: int | None = None,
              on_progress: Callable[[float, float | None], None] | None = None,
              audio: str | Path | None = None) -> list[Path]:
        """Segment a video chunk by chunk and write the results, with memory that does not depend on its duration.

        Reading, prediction and each output run at the same time, in threads, which have ended when this returns or
        raises.

        Args:
            video: As for :meth:`stream`.
            out_dir: Directory of the results of this video.
            outputs: Names of ``mmavs.apis.outputs.OUTPUTS``: 'overlay': ``overlay.mp4``, the masks on the frames,
                with the audio track of the video, copied; 'png': ``masks/00000.png`` and so on, the class of every
                pixel with the palette of the dataset, or 0 and 255 for one foreground class; 'npz': ``masks.npz`` with
                ``masks`` (T, H, W) uint8, ``times`` (T,) and ``classes``; 'coco', 'cutout', 'cutout-prores',
                'class-masks', 'csv' and 'timeline'. Each appears under its name when it is complete.
            fps: As for calling the inferencer.
            batch_size: As for calling the inferencer.
            on_progress: Called after each chunk with the seconds of the video that are predicted, and its duration, or
                None if the file does not state it.
            audio: Audio that replaces that of the video, for the model and for the results: 'none' for silence, or a
                video or audio file, whose audio begins with the first frame.

        Returns:
            Paths of the results, as :func:`output_paths`.

        Raises:
            FileNotFoundError, TypeError, ValueError: The video cannot be used, or an output is unknown.
        """
        paths = output_paths(out_dir, outputs)
        source = self._open(video, fps, audio)
        check_output_paths(paths, source.name)
        context = self._output_context(source)
        kinds = [OUTPUTS[output] for output in paths]
        consumers = [partial(kind.write, path, context=context) for kind, path in zip(kinds, paths.values())]
        chunks = self._predict(source, any(kind.needs_prob for kind in kinds), batch_size,
                               any(kind.needs_frames for kind in kinds))
        with closing(chunks):
            run_pipeline(_reported(chunks, source.duration, on_progress) if on_progress else chunks, consumers)
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
                 for chunk in self._predict(source, return_prob, batch_size, with_frames=False)]
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
        return OutputContext(self.model.dataset_meta, self.visualizer.palette, source.fps, source.overlay_audio,
                             Path(source.name).name)

    def _init_pipeline(self, cfg: Config) -> WindowPredictor:
        return WindowPredictor(self.model)

    def _inputs_to_list(self, inputs: str | Path | dict | Sequence[str | Path | dict]) -> list[str | Path | dict]:
        return list_inputs(inputs)

    def _open(self, item: str | Path | dict, fps: Real | str, audio: str | Path | None = None) -> VideoSource:
        """Open a video or a clip in memory.

        Raises:
            FileNotFoundError, TypeError, ValueError: As for :func:`mmavs.apis.video_source.open_source`.
        """
        return open_source(item, fps, self.pipeline, audio)

    def _predict(self,
                 source: VideoSource,
                 return_prob: bool,
                 batch_size: int | None,
                 with_frames: bool = True) -> Iterator[VideoChunk]:
        mask_prior = self.mask_prior and self.mask_prior.of_video(source.name, source.fps)
        return predict_chunks(self.pipeline, source, return_prob, batch_size, with_frames, mask_prior)


def _reported(chunks: Iterator[VideoChunk], duration: float | None,
              on_progress: Callable[[float, float | None], None]) -> Iterator[VideoChunk]:
    for chunk in chunks:
        yield chunk
        on_progress(float(chunk.times[-1]), duration)


def _to_sample(result: dict) -> AVSDataSample:
    shape = result['masks'].shape[1:]
    meta = dict(clip_id=result['video'], fps=result['fps'], times=result['times'], ori_shape=shape, out_shape=shape)
    sample = AVSDataSample(metainfo=meta, pred_sem_seg=torch.from_numpy(result['masks']))
    if 'foreground_prob' in result:
        sample.foreground_prob = torch.from_numpy(result['foreground_prob'])
    return sample

"""Export a model to ONNX or TorchScript."""
from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.checkpoint.training_settings import training_settings
from mmavs.structures import AVSDataSample
from mmavs.utils.config import find_clip_dataset
from mmavs.utils.export_formats import SUFFIXES
from mmavs.utils.exporting import for_onnx
from mmavs.utils.files import atomic_write, check_writable, stream_sha256
from mmavs.version import __version__

from .exported_model import IMAGE_TRANSFORMS, METADATA_KEY, METADATA_VERSION, TRANSFORMS, load_exported_model
from .model import init_model
from .weights import resolve_weights
from .window_prediction import DEFAULT_CLIP_LENGTH, TARGET_TRANSFORMS

if TYPE_CHECKING:
    from mmavs.models.segmentors.clip_scores import ClipScores

# Operators of ONNX, of 2022: the first with a maximum over groups.
OPSET = 18
# Frames of the clip that is recorded, more than 1, and of those that the file is checked with.
RECORDED_FRAMES, CHECKED_FRAMES = 2, (3, 1)


@dataclass(frozen=True)
class ExportReport:
    """Result of :func:`export_model`.

    Attributes:
        path: The file.
        frame_size: (H, W) of the frames that it takes.
        difference: Largest difference of its scores from those of PyTorch, in clips of 3 and 1 random frames.
        largest_score: Largest absolute score of PyTorch.
        same_class: Share of the pixels for which both predict the same class.
    """
    path: Path
    frame_size: tuple[int, int]
    difference: float
    largest_score: float
    same_class: float


def export_model(config: str | Path | Config,
                 checkpoint: str | Path | None,
                 format: str,
                 out: str | Path | None = None,
                 frame_size: tuple[int, int] | None = None,
                 tolerance: float = 1e-3) -> ExportReport:
    """Write a model as one file that runs without mmavs, and compare its scores with those of PyTorch.

    Inputs and output of the file are those of :class:`mmavs.models.segmentors.clip_scores.ClipScores`: frames at the
    size of the network and the waveform go in, class scores come out. The number of frames is free, their size fixed.
    The file describes itself: ``AVSInferencer(file)`` segments videos with it.

    Args:
        config: Name of a model of the zoo, config file, or config.
        checkpoint: Weights of the whole model, a file or ``'published'``; None leaves them random, with a warning.
        format: 'onnx' or 'torchscript'.
        out: File to write, with the suffix ``.onnx`` or ``.pt``; None: the name of the config in this directory.
        frame_size: (H, W) of the frames, if the test pipeline does not resize them.
        tolerance: Largest difference of a score, relative to the largest score, beyond which the export is an error.

    Raises:
        ConfigError, FileNotFoundError: As for :func:`mmavs.apis.init_model`.
        ImportError: The packages of ONNX are not installed.
        ValueError: The format, the suffix, the size or the test pipeline cannot be used, the model has an operator that
            ONNX lacks, or the scores differ by more than the tolerance; then no file is left. Also the errors of
            :func:`mmavs.apis.init_model`.
    """
    if format not in SUFFIXES:
        raise ValueError(f"format is {format!r}, expected 'onnx' or 'torchscript'")
    if out is not None and Path(out).suffix != SUFFIXES[format]:
        raise ValueError(f'{out}: the suffix of a file of the format {format} is {SUFFIXES[format]}')
    if format == 'onnx':
        _require_onnx()
    if out is not None:
        check_writable(out)
    from mmavs.models.segmentors.clip_scores import ClipScores

    if checkpoint is not None:
        checkpoint = Path(resolve_weights(config, checkpoint)).expanduser()
    model = init_model(config, checkpoint, 'cpu')
    name = Path(model.cfg.filename or 'model').stem
    path = Path(f'{name}{SUFFIXES[format]}' if out is None else out)
    pipeline, frame_size = _inference_pipeline(model.cfg, frame_size)
    metadata = _metadata(model, name, checkpoint, pipeline, frame_size)

    scorer = ClipScores(model, frame_size).eval().requires_grad_(False)
    clip = _random_clip(model, RECORDED_FRAMES, frame_size, metadata['inputs'])
    # Its name decides how the file is read.
    with atomic_write(path, SUFFIXES[format]) as partial:
        with torch.no_grad(), _quiet_recording():
            _WRITERS[format](scorer, clip, partial, metadata)
        report = _compare(model, partial, path, metadata)
        if not report.difference <= tolerance * report.largest_score:
            raise ValueError(
                f'{path}: the scores of the exported model differ from those of PyTorch by up to '
                f'{report.difference:.2g}, of at most {report.largest_score:.3g}, and the tolerance is '
                f'{tolerance}: nothing was written; raise the tolerance if this is good enough')
    return report


def _write_torchscript(scorer: ClipScores, clip: dict[str, Tensor], path: Path, metadata: Mapping[str, Any]) -> None:
    traced = torch.jit.trace(scorer, example_kwarg_inputs=clip, check_trace=False)
    # In memory: when it writes to a full disk, PyTorch ends the process.
    path.write_bytes(traced.save_to_buffer(_extra_files={METADATA_KEY: json.dumps(metadata)}))


def _write_onnx(scorer: ClipScores, clip: dict[str, Tensor], path: Path, metadata: Mapping[str, Any]) -> None:
    import onnx

    axes = {name: {0: 'T'} for name in ('frames', 'mask_prior', 'scores')}
    axes['waveform'] = {clip['waveform'].ndim - 1: 'L'}
    torch.onnx.register_custom_op_symbolic('aten::expm1', _expm1, OPSET)
    try:
        with for_onnx():
            # The exporter that is based on torch.export needs minutes where this one needs seconds.
            torch.onnx.export(scorer, (clip, ), str(path), input_names=list(clip), output_names=['scores'],
                              dynamic_axes={key: axes[key] for key in (*clip, 'scores') if key in axes},
                              opset_version=OPSET, dynamo=False)
    except torch.onnx.errors.UnsupportedOperatorError as error:
        raise ValueError(f'the model has an operator that ONNX lacks ({error}): export it with the format '
                         'torchscript') from error
    finally:
        torch.onnx.unregister_custom_op_symbolic('aten::expm1', OPSET)
    model = onnx.load(str(path))
    model.producer_name, model.producer_version = 'mmavs', __version__
    onnx.helper.set_model_props(model, {METADATA_KEY: json.dumps(metadata)})
    # The exporter keeps sizes of the recorded clip in the description of the output.
    for axis, dim in enumerate(model.graph.output[0].type.tensor_type.shape.dim):
        dim.Clear()
        dim.dim_param = 'TKHW'[axis]
    onnx.save(model, str(path))


_WRITERS = {'onnx': _write_onnx, 'torchscript': _write_torchscript}


def _expm1(graph: object, x: object) -> object:
    """``exp(x) - 1``, which ONNX has no operator for."""
    return graph.op('Sub', graph.op('Exp', x), graph.op('Constant', value_t=torch.tensor(1.)))


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ImportError(f'an export to ONNX needs onnx and onnxruntime ({error}): install them by "pip install onnx '
                          'onnxruntime"') from error


@contextmanager
def _quiet_recording() -> Iterator[None]:
    """Silence warnings about values that become constants: the result is checked with other numbers of frames."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        logger = logging.getLogger('torch.onnx')
        level = logger.level
        logger.setLevel(logging.ERROR)
        # The fused operator of nn.MultiheadAttention has no counterpart in ONNX.
        fused = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)
            logger.setLevel(level)


def _metadata(model: BaseModel, name: str, checkpoint: str | Path | None, pipeline: list[dict],
              frame_size: tuple[int, int]) -> dict[str, Any]:
    """Description of a model, as plain values."""
    digest = None
    if checkpoint is not None:
        with open(checkpoint, 'rb') as file:
            digest = stream_sha256(file)
    known = model.dataset_meta
    inputs = ['frames', 'waveform']
    inputs += ['mask_prior'] if model.mask_prior is not None else []
    inputs += ['num_samples'] if any(transform.get('mark_end') for transform in pipeline) else []
    return dict(
        format_version=METADATA_VERSION,
        mmavs_version=__version__,
        config=name,
        weights_sha256=digest,
        inputs=inputs,
        frame_size=list(frame_size),
        num_classes=model.decode_head.num_classes,
        dataset_meta=json.loads(json.dumps(dict({key: known[key] for key in ('classes', 'palette') if key in known},
                                                clip_length=known.get('clip_length', DEFAULT_CLIP_LENGTH)))),
        independent_frames=model.independent_frames,
        stereo=model.audio_backbone.stereo,
        examples_per_frame=model.audio_backbone.examples_per_frame,
        pipeline=pipeline)


def _inference_pipeline(config: Config, size: tuple[int, int] | None) -> tuple[list[dict], tuple[int, int]]:
    """The transforms that prepare a clip in memory, as plain dicts, and the size (H, W) of its frames.

    Raises:
        ValueError: There is no test pipeline, it has other transforms, or the size is missing or contradicts it.
    """
    _, dataset = find_clip_dataset(config, 'test')
    if 'pipeline' not in dataset:
        raise ValueError('the config has no test pipeline, which says how frames are resized: add a test_dataloader')
    found = training_settings(config, 'test')['input_size']
    if found is None and size is None:
        raise ValueError('the test pipeline of the config takes frames of any size, and an exported model has one: '
                         'state it (--size HEIGHT WIDTH)')
    if None not in (found, size) and tuple(found) != tuple(size):
        raise ValueError(f'the size is {tuple(size)} (height, width), but the test pipeline of the config resizes '
                         f'frames to {tuple(found)}: leave the size out, or use another config')
    pipeline = []
    for transform in map(_plain, dataset['pipeline']):
        name = transform['type']
        if name == 'LoadAudio':
            if transform.get('mark_end'):
                pipeline.append(dict(type=name, mark_end=True))
        elif name == 'ClipBroadcaster' and set(transform.get('keys', ('frames', ))) <= {'masks'}:
            continue
        elif name in TRANSFORMS:
            pipeline.append(transform)
        elif not name.startswith('Load') and name not in TARGET_TRANSFORMS:
            raise ValueError(f'the test pipeline has the transform {name}, which an export does not know: it knows '
                             f'{", ".join(TRANSFORMS)}')
    for child in (child for transform in pipeline for child in transform.get('transforms', ())):
        if child['type'] not in IMAGE_TRANSFORMS:
            raise ValueError(f"the test pipeline has the transform {child['type']}, which an export does not know: it "
                             f'knows {", ".join(IMAGE_TRANSFORMS)}')
    if found is None:
        pipeline[-1:-1] = [
            dict(type='ClipBroadcaster', keys=[key],
                 transforms=[dict(type='Resize', scale=list(size[::-1]), interpolation=how, backend='pillow')])
            for key, how in (('frames', 'bilinear'), ('mask_prior', 'nearest'))
        ]
    return pipeline, tuple(found or size)


def _plain(transform: Mapping) -> dict:
    """A transform as JSON keeps it: dicts, lists, strings and numbers."""
    return json.loads(json.dumps(transform))


def _random_clip(model: BaseModel, num_frames: int, size: tuple[int, int],
                 names: Sequence[str]) -> dict[str, Tensor]:
    """Inputs of a clip of random frames, the same each time."""
    generator = torch.Generator().manual_seed(num_frames)
    images = torch.randint(256, (2, num_frames, 3, *size), generator=generator, dtype=torch.uint8)
    length = num_frames * model.audio_backbone.examples_per_frame * SAMPLE_RATE
    waveform = torch.rand(2, length, generator=generator) - 0.5
    inputs = dict(
        frames=images[0],
        waveform=waveform if model.audio_backbone.stereo else waveform[0],
        mask_prior=images[1],
        num_samples=torch.tensor([length - SAMPLE_RATE // 2]))
    return {name: inputs[name] for name in names}


def _compare(model: BaseModel, file: Path, path: Path, metadata: Mapping[str, Any]) -> ExportReport:
    """Compare a file, which is going to be ``path``, with PyTorch."""
    exported, size = load_exported_model(file, 'cpu'), tuple(metadata['frame_size'])
    differences, largest, same = [], [], []
    for num_frames in CHECKED_FRAMES:
        clip = _random_clip(model, num_frames, size, metadata['inputs'])
        expected, found = _torch_scores(model, clip, size), exported.scores(clip)
        if found.shape != expected.shape:
            raise ValueError(f'{path}: the exported model gives scores of the shape {tuple(found.shape)} for a clip of '
                             f'{num_frames} frames, expected {tuple(expected.shape)}')
        differences.append((found - expected).abs().max().item())
        largest.append(expected.abs().max().item())
        same.append((_classes(found) == _classes(expected)).float().mean().item())
    return ExportReport(path, size, max(differences), max(largest), sum(same) / len(same))


def _torch_scores(model: BaseModel, clip: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
    """Scores (T, K, H, W) of the segmentor itself, by the way that data take in a test."""
    inputs = {key: int(x) if key == 'num_samples' else x for key, x in clip.items()}
    sample = AVSDataSample(metainfo=dict(img_shape=size, out_shape=size))
    with torch.no_grad():
        batch = model.data_preprocessor(dict(inputs=[inputs], data_samples=[sample]))
        return model(**batch, mode='predict', outputs=['seg_logits'])[0].seg_logits


def _classes(scores: Tensor) -> Tensor:
    return scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(1)

"""Run an exported model: an ONNX file by ONNX Runtime, a TorchScript file by PyTorch."""
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from torch import Tensor

from mmavs.structures import DEFAULT_OUTPUTS, AVSDataSample
from mmavs.utils.device import select_device
from mmavs.utils.export_formats import SUFFIXES
from mmavs.utils.json_files import check_types, parse_json
from mmavs.utils.optional_packages import optional_import

#: Entry of a file that describes the model, as JSON, and the version of the description.
METADATA_KEY, METADATA_VERSION = 'mmavs', 1
# Entries of the description that are read, and their types.
METADATA_TYPES = dict(
    pipeline=list, frame_size=[int], inputs=[str], dataset_meta=dict, independent_frames=bool, stereo=bool,
    examples_per_frame=int | None)
# Transforms that a description may name: it comes from the file, and a name could otherwise stand for any function.
TRANSFORMS = ('ClipBroadcaster', 'ResizeToSquare', 'ResizeShortSide', 'LoadAudio', 'PackClipInputs')
IMAGE_TRANSFORMS = ('Resize', 'CenterCrop', 'Pad')

Scores = Callable[[dict[str, Tensor]], Tensor]


class ExportedSegmentor(BaseModel):
    """Exported model, which predicts what the :class:`AudioVisualSegmentor` that it was made of predicts.

    It has what :func:`mmavs.apis.inference_clip` and :class:`mmavs.apis.AVSInferencer` need of a model: ``cfg`` with
    the test pipeline, ``dataset_meta``, and the properties of the clips that it takes.

    Args:
        scores: Function from the inputs of a clip, see :class:`mmavs.models.segmentors.clip_scores.ClipScores`, to
            scores (T, K, H, W).
        metadata: Description of the model, of :func:`mmavs.apis.export_model`.
        device: Device of the inputs.
    """

    def __init__(self, scores: Scores, metadata: Mapping[str, Any], device: torch.device) -> None:
        super().__init__()
        self.scores = scores
        self.metadata = metadata
        self.device = device
        self.cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=metadata['pipeline']))))
        self.dataset_meta = metadata['dataset_meta']
        self.independent_frames = metadata['independent_frames']
        self.audio_backbone = SimpleNamespace(
            stereo=metadata['stereo'], examples_per_frame=metadata['examples_per_frame'])
        self.mask_prior = True if 'mask_prior' in metadata['inputs'] else None

    def forward(self,
                inputs: Sequence[dict],
                data_samples: Sequence[AVSDataSample],
                mode: str = 'predict',
                outputs: Sequence[str] | None = None,
                prob_dtype: torch.dtype = torch.float32) -> list[AVSDataSample]:
        """Fill in the predictions of clips, as :meth:`AudioVisualSegmentor.predict` does.

        Args:
            inputs: The inputs of each clip, of ``PackClipInputs``.
            data_samples: The clips.
            mode: 'predict'.
            outputs: Names of the fields to fill in; None for ``pred_sem_seg`` and ``foreground_prob``.
            prob_dtype: Type of ``foreground_prob``.

        Raises:
            ValueError: The mode is another one, or frames have another size than the model takes.
        """
        from mmavs.models.segmentors.clip_prediction import ClipPrediction  # with all models, which takes seconds

        if mode != 'predict':
            raise ValueError(f"mode is {mode!r}: an exported model has only 'predict'")
        size = tuple(self.metadata['frame_size'])
        for clip, sample in zip(inputs, data_samples):
            if tuple(clip['frames'].shape[-2:]) != size:
                raise ValueError(f"frames have the size {tuple(clip['frames'].shape[-2:])} (height, width), the "
                                 f'exported model takes {size}')
            tensors = {name: torch.as_tensor(clip[name]) for name in self.metadata['inputs']}
            if 'num_samples' in tensors:
                tensors['num_samples'] = tensors['num_samples'].view(1)
            scores = self.scores({name: x.to(self.device) for name, x in tensors.items()})
            prediction = ClipPrediction(sample, len(scores), scores.shape[1], size, outputs or DEFAULT_OUTPUTS,
                                        prob_dtype, scores.device)
            for t, of_frame in enumerate(scores):
                prediction.add_frame(t, of_frame)
        return list(data_samples)


def load_exported_model(path: str | Path, device: str | torch.device | None = None) -> ExportedSegmentor:
    """Open an exported model.

    ONNX Runtime computes what an ONNX file describes, and nothing else. A TorchScript file is a program: open only
    those that you trust.

    Args:
        path: File of :func:`mmavs.apis.export_model`, with the suffix ``.onnx`` or ``.pt``.
        device: Device; None: the GPU if there is one. ONNX Runtime uses a GPU if its package supports it.

    Raises:
        FileNotFoundError: There is no such file.
        ImportError: ONNX Runtime is not installed.
        ValueError: The file is damaged, or mmavs did not make it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: there is no such file')
    device = select_device(device)
    scores, text = _open_onnx(path, device) if path.suffix == SUFFIXES['onnx'] else _open_torchscript(path, device)
    return ExportedSegmentor(scores, parse_description(text, path), device).eval()


def _open_onnx(path: Path, device: torch.device) -> tuple[Scores, str | None]:
    onnxruntime = optional_import('onnxruntime', f'{path}: running an ONNX model')
    available = onnxruntime.get_available_providers()
    wanted = ('CUDAExecutionProvider', 'CPUExecutionProvider') if device.type == 'cuda' else ('CPUExecutionProvider', )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=[provider for provider in wanted if provider in available])
    except Exception as error:
        raise ValueError(f'{path}: ONNX Runtime cannot read it, expected an ONNX model of mmavs export: '
                         f'{str(error).splitlines()[0]}') from error

    def scores(inputs: dict[str, Tensor]) -> Tensor:
        arrays = {name: x.cpu().numpy() for name, x in inputs.items()}
        return torch.from_numpy(session.run(None, arrays)[0]).to(device)

    return scores, session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)


def _open_torchscript(path: Path, device: torch.device) -> tuple[Scores, str | None]:
    files = {METADATA_KEY: ''}
    try:
        module = torch.jit.load(str(path), map_location=device, _extra_files=files).eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f'{path}: PyTorch cannot read it, expected a TorchScript model of mmavs export; weights are '
                         f'opened by init_model(config, weights): {str(error).splitlines()[0]}') from error
    text = files[METADATA_KEY]

    def scores(inputs: dict[str, Tensor]) -> Tensor:
        # PyTorch would spend more time on optimizing the program for each new size than it saves.
        with torch.no_grad(), torch.jit.optimized_execution(False):
            return module(**inputs)

    return scores, text.decode() if isinstance(text, bytes) else text


def parse_description(text: str | None, path: Path) -> dict:
    """Read and check the description of a model.

    Raises:
        ValueError: There is none, it is of another version, or its pipeline names another transform.
    """
    if not text:
        raise ValueError(f'{path}: holds no description by mmavs, expected a file of mmavs export')
    metadata = parse_json(text, path, 'the description of a model', ('format_version', ))
    if metadata['format_version'] != METADATA_VERSION:
        raise ValueError(f"{path}: its description has the version {metadata['format_version']}, this mmavs reads "
                         f'{METADATA_VERSION}: export the model again')
    check_types(metadata, METADATA_TYPES, path)
    metadata['pipeline'] = [_parse_transform(transform, TRANSFORMS, path) for transform in metadata['pipeline']]
    return metadata


def _parse_transform(transform: Any, allowed: Sequence[str], path: Path) -> dict:
    if not isinstance(transform, dict) or not isinstance(transform.get('transforms', []), list):
        raise ValueError(f'{path}: its pipeline has {transform!r}, expected a transform')
    if transform.get('type') not in allowed:
        raise ValueError(f"{path}: its pipeline has the transform {transform.get('type')!r}, expected one of "
                         f'{", ".join(allowed)}')
    nested = [_parse_transform(child, IMAGE_TRANSFORMS, path) for child in transform.get('transforms', ())]
    # JSON has no tuples.
    arguments = {key: tuple(x) if isinstance(x, list) else x for key, x in transform.items()}
    return dict(arguments, transforms=nested) if nested else arguments

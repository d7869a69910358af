"""Find the regions of a frame for its mask prior: with SAM, in files of masks or ids, or none."""
from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmavs.datasets.mask_priors import MASKS_SUFFIX, PRIOR_SUFFIX, ids_from_masks, read_id_map, read_masks
from mmavs.datasets.transforms.loading import same_aspect
from mmavs.utils.device import select_device
from mmavs.utils.files import stream_sha256

#: Short names of models of the Hugging Face Hub.
SAM_MODELS = dict(sam='facebook/sam-vit-base', sam2='facebook/sam2.1-hiera-small')


class MaskGenerator(ABC):
    """Find the regions of a frame.

    Attributes:
        settings: What decides the masks, for JSON.
        source: Model or directory, for information.
    """
    settings: dict[str, Any]
    source: str

    @abstractmethod
    def masks(self, frame: np.ndarray, name: str | None = None) -> np.ndarray:
        """Find the regions of a frame.

        Args:
            frame: (H, W, 3) uint8 RGB.
            name: Path of its mask prior below the directory of all, without ``_mask_color.png``; generators that read
                files need it.

        Returns:
            (N, h, w) bool, of the size or at least the aspect ratio of the frame; N may be 0.
        """

    def id_map(self, frame: np.ndarray, name: str | None = None) -> np.ndarray:
        """Find the regions of a frame as an id map (h, w) uint8, see :func:`ids_from_masks`."""
        return ids_from_masks(self.masks(frame, name))

    def fingerprint(self, name: str | None) -> str:
        """Digest of the file that :meth:`masks` reads for a frame; '' without one."""
        return ''


class NoMasks(MaskGenerator):
    """Find nothing: mask priors are of the constant gray of uncovered pixels, which training has seen too."""
    settings = dict(generator='none')
    source = 'none'

    def masks(self, frame: np.ndarray, name: str | None = None) -> np.ndarray:
        """Return no mask, (0, H, W)."""
        return np.zeros((0, *frame.shape[:2]), bool)


class MaskFiles(MaskGenerator):
    """Read the masks ``NAME_mask.npy`` that Semantic-SAM made with the tools of COMBO and VCT.

    Args:
        directory: Directory of the files, laid out as the mask priors.

    Raises:
        FileNotFoundError: There is no such directory; of :meth:`masks`: a file is missing.
        ValueError: Of :meth:`masks`: a file holds something else, or has another aspect ratio than the frame.
    """
    settings = dict(generator='semantic-sam-npy')
    suffixes = (MASKS_SUFFIX, )

    def __init__(self, directory: str | Path) -> None:
        if not Path(directory).is_dir():
            raise FileNotFoundError(f'{directory}: no such directory of *{self.suffixes[0]} files')
        self.source = str(directory)

    def masks(self, frame: np.ndarray, name: str | None = None) -> np.ndarray:
        """Read the masks of a frame."""
        path = self._path(name)
        return _require_aspect(read_masks(path), frame, path)

    def fingerprint(self, name: str | None) -> str:
        """Digest of the file of a frame."""
        with open(self._path(name), 'rb') as file:
            return stream_sha256(file)

    def _path(self, name: str | None) -> Path:
        if name is None:
            raise ValueError(f'{self.source}: masks are read by the name of a frame, which frames in memory lack: '
                             'make mask priors of them with make_mask_priors.py and pass their directory')
        paths = [Path(self.source, name + suffix) for suffix in self.suffixes]
        found = [path for path in paths if path.is_file()]
        if len(found) != 1:
            state = 'is missing' if not found else f'and {found[1].name} exist both, expected one'
            raise FileNotFoundError(f'{(found or paths)[0]} {state}')
        return found[0]


class IdMapFiles(MaskFiles):
    """Read id maps: ``NAME.png``, ``NAME.npy``, or mask priors ``NAME_mask_color.png`` with their palette.

    Args:
        directory: As for :class:`MaskFiles`.

    Raises:
        FileNotFoundError, ValueError: As for :class:`MaskFiles`.
    """
    settings = dict(generator='id-maps')
    suffixes = ('.png', '.npy', PRIOR_SUFFIX)

    def masks(self, frame: np.ndarray, name: str | None = None) -> np.ndarray:
        """Return a mask for each id that occurs, except 0."""
        ids = self.id_map(frame, name)
        return ids == np.unique(ids[ids > 0])[:, None, None]

    def id_map(self, frame: np.ndarray, name: str | None = None) -> np.ndarray:
        """Read the ids of a frame as they are."""
        path = self._path(name)
        return _require_aspect(read_id_map(path), frame, path)


@dataclass(frozen=True)
class SamSettings:
    """Settings of SAM. The defaults are the nearest to Semantic-SAM at level 3, as COMBO and VCT use it.

    Attributes:
        points_per_side: Points of the grid that prompt the model, in each direction.
        masks_per_point: SAM predicts three masks for a point: whole, part and subpart. 'largest' keeps the largest of
            them, because Semantic-SAM's level 3 has one per point, of an object; 'all' keeps all, as SAM does.
        pred_iou_thresh: Masks are kept if the model predicts a larger IoU.
        stability_score_thresh: Masks are kept if the IoU of their versions at a lower and at a higher cutoff is larger.
        stability_score_offset: Distance of these cutoffs from 0, in logits.
        nms_thresh: IoU of boxes above which the mask of less predicted IoU is dropped.
        min_area: Regions and holes of fewer pixels are removed, and duplicates dropped once more; 0: none.
    """
    points_per_side: int = 32
    masks_per_point: str = 'largest'
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.92
    stability_score_offset: float = 1.0
    nms_thresh: float = 0.7
    min_area: int = 10

    def __post_init__(self) -> None:
        if self.masks_per_point not in ('largest', 'all'):
            raise ValueError(f"masks_per_point is {self.masks_per_point!r}, expected 'largest' or 'all'")
        if self.points_per_side < 1:
            raise ValueError(f'points_per_side is {self.points_per_side}, expected at least 1')


#: Named settings: the nearest to Semantic-SAM at level 3, and those of SAM's own generator.
SAM_SETTINGS = dict(
    level3=SamSettings(),
    sam=SamSettings(masks_per_point='all', stability_score_thresh=0.95, min_area=0))


class SamMasks(MaskGenerator):
    """Find regions with SAM, SAM 2 or another model of the mask generation of the library transformers.

    Args:
        model: A local directory as transformers saves it, or the name of a model on the Hugging Face Hub, such as
            'facebook/sam2.1-hiera-small', which transformers downloads at first use.
        device: Device of the model; None: the GPU if there is one, else the CPU.
        settings: The settings.
        points_per_batch: Points that the model gets at once; more take more memory.

    Raises:
        ImportError: transformers is not installed.
        OSError: The model cannot be loaded.
        ValueError: It is not one of mask generation.
    """

    def __init__(self,
                 model: str | Path,
                 device: str | torch.device | None = None,
                 settings: SamSettings = SamSettings(),
                 points_per_batch: int = 64) -> None:
        try:
            from transformers import MaskGenerationPipeline
        except ImportError as error:
            raise ImportError(f'SAM needs the library transformers ({error}): install it by "pip install '
                              '\'transformers>=5\'"') from error
        network, processor = _load_sam(str(model))
        self.source = str(model)
        self.settings = dict(
            generator='sam', model_type=network.config.model_type, weights=_digest(network), **asdict(settings))
        self._settings = settings
        self._points_per_batch = points_per_batch
        self._pipeline = MaskGenerationPipeline(model=network.eval(), image_processor=processor,
                                                device=select_device(device))
        # SAM resizes to a long side and pads, SAM 2 resizes to a square. The grid of transformers 5 is SAM's for both:
        # on frames that are not square it leaves out a part of them.
        self._square = None if 'longest_edge' in processor.size else processor.size['height']
        self._shape = (1, 1)
        network.register_forward_pre_hook(self._spread_grid, with_kwargs=True)
        if settings.masks_per_point == 'largest':
            network.register_forward_hook(_keep_largest)

    def masks(self, frame: np.ndarray, name: str | None = None) -> np.ndarray:
        """Find the regions of a frame, those of the largest predicted IoU first."""
        settings, self._shape = self._settings, frame.shape[:2]
        found = self._pipeline(
            Image.fromarray(frame),
            points_per_crop=settings.points_per_side,
            points_per_batch=self._points_per_batch,
            pred_iou_thresh=settings.pred_iou_thresh,
            stability_score_thresh=settings.stability_score_thresh,
            stability_score_offset=settings.stability_score_offset,
            crops_nms_thresh=settings.nms_thresh)['masks']
        if not found:
            return np.zeros((0, *frame.shape[:2]), bool)
        masks = np.stack([mask.numpy() for mask in found])
        return clean_masks(masks, settings.min_area, settings.nms_thresh) if settings.min_area else masks

    def _spread_grid(self, network: nn.Module, args: tuple, inputs: dict) -> tuple[tuple, dict]:
        """Scale the points of a batch so that the grid covers the whole input."""
        if self._square:
            height, width = self._shape
            # The sides for which transformers laid out the grid, which keep the aspect ratio.
            sides = [int(side * self._square / max(height, width) + 0.5) for side in (width, height)]
            scale = self._square / inputs['input_points'].new_tensor(sides)
            inputs = dict(inputs, input_points=inputs['input_points'] * scale)
        return args, inputs


def clean_masks(masks: np.ndarray, min_area: int, nms_thresh: float) -> np.ndarray:
    """Remove small regions and fill small holes of masks; drop the duplicates that this makes.

    Args:
        masks: (N, H, W) bool, in falling order of quality.
        min_area: Regions and holes of fewer pixels are removed. The largest region of a mask stays.
        nms_thresh: IoU of boxes above which the later mask is dropped. Masks that did not change come first.

    Returns:
        (n, H, W) bool, those that did not change first, else in the given order. Empty masks are dropped.
    """
    from torchvision.ops import masks_to_boxes, nms

    cleaned = np.stack([_without_small_regions(mask, min_area) for mask in masks])
    unchanged = (cleaned == masks).all((1, 2))
    order = np.argsort(~unchanged, kind='stable')
    kept = torch.from_numpy(cleaned[order[cleaned[order].any((1, 2))]])
    if not len(kept):
        return kept.numpy()
    # The order decides: scores fall along it.
    scores = -torch.arange(len(kept), dtype=torch.float)
    return kept[nms(masks_to_boxes(kept), scores, nms_thresh)].numpy()


def _without_small_regions(mask: np.ndarray, min_area: int) -> np.ndarray:
    """Fill the small holes of a mask (H, W), then remove its small regions."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = min_area  # the label 0 is the mask
    mask = mask | (areas < min_area)[labels]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    areas[0] = 0
    keep = areas >= min(min_area, areas.max())
    keep[0] = False
    return keep[labels]


def _keep_largest(network: nn.Module, args: tuple, output: dict) -> dict:
    """Keep the largest mask of each point, before masks are resized to the frame."""
    masks, scores = output['pred_masks'], output['iou_scores']
    largest = (masks > 0).sum((-2, -1)).argmax(-1, keepdim=True)
    output['pred_masks'] = masks.take_along_dim(largest[..., None, None], 2)
    output['iou_scores'] = scores.take_along_dim(largest, 2)
    return output


def _load_sam(model: str) -> tuple[nn.Module, Any]:
    """Load a model of mask generation and its image processor."""
    from transformers import AutoImageProcessor, AutoModelForMaskGeneration
    local = Path(model).is_dir()
    try:
        with _quiet_transformers():
            network = AutoModelForMaskGeneration.from_pretrained(model, use_safetensors=True)
            return network, AutoImageProcessor.from_pretrained(model)
    except OSError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if local:
            raise OSError(f'{model}: not a complete model of transformers ({reason}), expected config.json, '
                          'model.safetensors and preprocessor_config.json') from error
        raise OSError(f'{model}: cannot be loaded from the Hugging Face Hub ({reason}). On a machine with a network, '
                      f'"hf download {model} --local-dir DIRECTORY" gets it; then pass DIRECTORY instead') from error
    except ValueError as error:
        raise ValueError(f'{model}: not a model of mask generation, such as SAM or SAM 2, that transformers '
                         f'knows ({str(error).strip().splitlines()[0]})') from error


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Keep the progress bars of loading off the terminal."""
    from transformers.utils import logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _digest(network: nn.Module) -> str:
    """SHA-256 of the weights of a model: the same from the Hub and from a directory."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(_as_bytes(tensor))
    return digest.hexdigest()


def _as_bytes(tensor: Tensor) -> memoryview:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _require_aspect(array: np.ndarray, frame: np.ndarray, path: Path) -> np.ndarray:
    """Raise a ValueError if an array (..., h, w) has another aspect ratio than the frame."""
    if not same_aspect(array.shape[-2:], frame.shape[:2]):
        raise ValueError(f'{path}: {array.shape[-2]}x{array.shape[-1]} (height x width), the frame is '
                         f'{frame.shape[0]}x{frame.shape[1]}: expected the same aspect ratio')
    return array

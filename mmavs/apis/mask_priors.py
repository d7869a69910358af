"""Mask priors of frames: made by a generator, or read from the directory of a video."""
from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseModel

from mmavs.datasets.mask_prior_settings import read_settings
from mmavs.datasets.mask_priors import PRIOR_SUFFIX, prior_key, render_prior, resize_ids
from mmavs.utils.files import natural_order
from mmavs.utils.images import read_image
from mmavs.video import probe_video

from .mask_generators import SAM_MODELS, SAM_SETTINGS, MaskGenerator, NoMasks, SamMasks, SamSettings

#: Function that returns the mask prior of a frame, (h, w, 3) uint8 RGB, from its index in the video and the frame.
PriorOfFrame = Callable[[int, np.ndarray], np.ndarray]
HUB_NAME = re.compile(r'[\w.-]+/[\w.-]+')
CHOICES = (f"'none' (constant gray), {', '.join(map(repr, SAM_MODELS))} or another SAM of the Hugging Face Hub "
           '(OWNER/NAME), a local directory of such a model, or the directory of mask priors that '
           'tools/dataset_converters/make_mask_priors.py wrote')


class MaskPriorGenerator:
    """Make the mask priors of frames: ``MaskPriorGenerator('sam2')(frame)``.

    A generator finds the regions of a frame, :func:`mmavs.datasets.mask_priors.ids_from_masks` orders them by area, and
    the ids get the colors of ADE20K. The published models were trained with the masks of Semantic-SAM; what masks of
    another generator cost has not been measured.

    Args:
        generator: 'none': constant gray, the color of uncovered pixels; 'sam' or 'sam2', the name of a model of mask
            generation on the Hugging Face Hub, or its local directory; or a :class:`MaskGenerator`.
        device: Device of the model; None: the GPU if there is one, else the CPU.
        settings: Settings of SAM: 'level3', the nearest to Semantic-SAM, 'sam', those of SAM itself, or others.
        size: Resize id maps to squares of this side, to the nearest pixel; None: they have the size of the frame.

    Attributes:
        settings: What decides the mask priors, for JSON.
        source: Model or directory.

    Raises:
        ImportError, OSError, ValueError: As for :class:`SamMasks`, or there is no generator of that name.
    """

    def __init__(self,
                 generator: str | Path | MaskGenerator = 'none',
                 device: str | torch.device | None = None,
                 settings: str | SamSettings = 'level3',
                 size: int | None = None) -> None:
        if not isinstance(generator, MaskGenerator):
            generator = _open_generator(str(generator), device, settings)
        self._generator, self._size = generator, size
        self.settings = dict(generator.settings, size=size)
        self.source = generator.source
        self._last: tuple[str | None, np.ndarray | None] = None, None

    def __call__(self, frame: np.ndarray, name: str | None = None) -> np.ndarray:
        """Make the mask prior of a frame, (H, W, 3) uint8 RGB; arguments as for :meth:`id_map`."""
        return render_prior(self.id_map(frame, name))

    def id_map(self, frame: np.ndarray, name: str | None = None) -> np.ndarray:
        """Make the id map of a frame.

        A frame that is equal to the one before is not computed again.

        Args:
            frame: (H, W, 3) uint8 RGB.
            name: As for :meth:`MaskGenerator.masks`.

        Returns:
            (H, W) uint8, of the size of the frame or ``size`` x ``size``.
        """
        key = self.key(frame, name)
        if self._last[0] != key:
            shape = frame.shape[:2] if self._size is None else (self._size, self._size)
            self._last = key, resize_ids(self._generator.id_map(frame, name), shape)
        return self._last[1]

    def key(self, frame: np.ndarray, name: str | None = None) -> str:
        """Identify the mask prior of a frame by the frame, the settings, and the file of masks if one is read."""
        return prior_key(frame, self.settings, self._generator.fingerprint(name))

    def of_video(self, video: str, fps: Fraction) -> PriorOfFrame:
        """Return the function of the mask priors of a video, which are made frame by frame."""
        return lambda index, frame: self(frame)


class PriorDirectory:
    """Read mask priors that ``make_mask_priors.py`` wrote for videos: ``DIRECTORY/VIDEO/00000_mask_color.png``.

    The files of a video are those of its frames in order, however they are named: 10 comes after 9.

    Args:
        directory: The directory.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def of_video(self, video: str, fps: Fraction) -> PriorOfFrame:
        """Return the function that reads the mask prior of a frame of a video.

        Args:
            video: Path or address of the video; its file name without suffix is the name of the directory.
            fps: Frames per second that are segmented.

        Raises:
            ValueError: There are no mask priors of the video, or they were made for another frame rate; of the
                function: there are fewer than frames, or a file is damaged.
        """
        directory = self.directory / video_name(video)
        files = sorted(directory.glob(f'*{PRIOR_SUFFIX}'), key=natural_order)
        if not files:
            raise ValueError(f'{directory}: no mask priors (*{PRIOR_SUFFIX}) of the video {video}: make them with '
                             f'tools/dataset_converters/make_mask_priors.py {video} {self.directory}')
        made_for = (read_settings(self.directory) or {}).get('fps')
        try:
            rate = None if made_for in ('native', None) else Fraction(made_for)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise ValueError(f'{self.directory}: the settings of the mask priors state fps {made_for!r}, expected a '
                             'number: make the mask priors again') from error
        if made_for == 'native':
            rate = probe_video(video).frame_rate
        if rate not in (None, fps):
            raise ValueError(f'{self.directory}: the mask priors were made for {rate} frames per second, the video is '
                             f'segmented at {fps}: pass fps={made_for}, or make others')

        def read(index: int, frame: np.ndarray) -> np.ndarray:
            if index >= len(files):
                raise ValueError(f'{directory}: {len(files)} mask priors, but the video has more frames at {fps} per '
                                 'second: make them with the same --fps')
            return read_image(files[index], 'mask prior', 'RGB')

        return read


MaskPriorSource = MaskPriorGenerator | PriorDirectory
#: What a user passes as ``mask_prior``: a name, a directory, or what makes or reads mask priors.
MaskPriorOption = str | Path | MaskPriorSource | MaskGenerator


def open_mask_prior(mask_prior: MaskPriorOption | None, model: BaseModel,
                    device: str | torch.device | None = None) -> MaskPriorSource | None:
    """Open what makes or reads the mask priors for a model.

    Args:
        mask_prior: 'none', the name or the directory of a SAM, a directory of mask priors, or a generator; None for
            models without a mask-prior branch.
        model: The model.
        device: Device of a SAM that is named.

    Raises:
        ImportError, OSError, ValueError: It cannot be used, or is missing for a model with a mask-prior branch, or is
            given for one without.
    """
    has_branch = getattr(model, 'mask_prior', None) is not None
    if mask_prior is None and has_branch:
        raise ValueError(f'mask_prior is missing: the model has a mask-prior branch. Choose {CHOICES}; or use the '
                         'config of the same name without mask-prior. The published scores are those of the masks of '
                         'Semantic-SAM')
    if mask_prior is not None and not has_branch:
        raise ValueError('mask_prior is given, but the model has no mask-prior branch')
    if mask_prior is None or isinstance(mask_prior, MaskPriorSource):
        return mask_prior
    if not isinstance(mask_prior, MaskGenerator) and mask_prior != 'none':
        path = Path(mask_prior)
        if path.is_dir() and not (path / 'config.json').is_file():
            return PriorDirectory(path)
    return MaskPriorGenerator(mask_prior, device)


def video_name(video: str | Path) -> str:
    """Name of the directories of a video: its file name without suffix."""
    return Path(str(video).partition('?')[0]).stem


def _open_generator(name: str, device: str | torch.device | None, settings: str | SamSettings) -> MaskGenerator:
    if isinstance(settings, str):
        if settings not in SAM_SETTINGS:
            raise ValueError(f'settings are {settings!r}, expected {", ".join(map(repr, SAM_SETTINGS))} or SamSettings')
        settings = SAM_SETTINGS[settings]
    if name == 'none':
        return NoMasks()
    if Path(name).is_dir() and not Path(name, 'config.json').is_file():
        raise ValueError(f'{name}: the directory holds no config.json, expected a model of mask generation as '
                         'transformers saves it')
    if not Path(name).is_dir() and name not in SAM_MODELS and not HUB_NAME.fullmatch(name):
        raise ValueError(f'mask_prior is {name!r}. Choose {CHOICES}')
    return SamMasks(name if Path(name).is_dir() else SAM_MODELS.get(name, name), device, settings)

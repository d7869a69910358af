"""Visualizer of clips."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from torch import Tensor

from mmavs.audio.log_mel import LOG_OFFSET, SAMPLE_RATE, log_mel_image
from mmavs.audio.resampling import resample
from mmavs.evaluation.functional.avsbench import binary_scores
from mmavs.registry import VISUALIZERS
from mmavs.structures import UNLABELLED, AVSDataSample
from mmavs.utils.image_files import write_image

from .canvas import Legend
from .colors import Color, drawing_palette
from .figures import draw_contact_sheet, draw_video_stills
from .frame_grid import FrameRow
from .object_names import class_name, locate_names
from .overlay import overlay_masks
from .video import play_stills, write_video
from .waveform import check_rate, fit_length, to_mono

IMAGE_SUFFIXES, VIDEO_SUFFIXES = ('.png', '.jpg', '.jpeg'), ('.mp4', )
# Longer side of drawn frames in pixels: outlines are as wide on small frames as on large ones, and memory is bounded.
MIN_SIDE, MAX_SIDE = 320, 400


@VISUALIZERS.register_module()
class AVSVisualizer(Visualizer):
    """Draw clips: contact sheets (PNG) and overlay videos with audio (MP4).

    Args:
        name: Name of the instance.
        vis_backends: Configs of the backends that record sheets and scalars.
        save_dir: Directory of the backends.
        alpha: Opacity of the masks in [0, 1].
        foreground_color: Color [R, G, B] of the masks in datasets with one foreground class.
        seconds_per_frame: Time between two frames of a clip; None takes that of the dataset (3 s for VPO, else 1 s).
        fps: Frames per second of the videos.

    Class names, colors and ``seconds_per_frame`` are those of the dataset (``dataset_meta``, set by MMEngine's Runner).
    A palette whose colors are too similar, as AVSBench-semantic's, is replaced (:func:`drawing_palette`). Objects of
    datasets with several foreground classes are drawn with their names.
    """

    def __init__(self,
                 name: str = 'visualizer',
                 vis_backends: list[dict] | None = None,
                 save_dir: str | None = None,
                 alpha: float = 0.5,
                 foreground_color: Sequence[int] = (255, 60, 90),
                 seconds_per_frame: float | None = None,
                 fps: int = 24) -> None:
        super().__init__(name=name, vis_backends=vis_backends, save_dir=save_dir)
        self.alpha = alpha
        self.foreground_color = foreground_color
        self._seconds_per_frame = seconds_per_frame
        self.fps = fps

    @master_only
    def add_datasample(self,
                       name: str,
                       frames: np.ndarray | Tensor | Sequence[np.ndarray],
                       data_sample: AVSDataSample,
                       waveform: np.ndarray | Tensor | None = None,
                       rate: int | None = None,
                       log_mel: np.ndarray | Tensor | None = None,
                       out_file: str | Path | None = None,
                       step: int = 0) -> None:
        """Draw a clip with the masks of its data sample (``gt_sem_seg``, ``pred_sem_seg``).

        Padding frames (not ``valid``) are left out; unlabelled frames are shown without ground truth.

        Args:
            name: Title, usually the clip id.
            frames: T frames (H, W, 3) uint8, RGB, of any size: masks are resized to it.
            data_sample: Annotations and predictions of the clip.
            waveform: Audio (L,), (L, channels) or (channels, L), floats in [-1, 1] or integers; cut or padded with
                silence to the duration of the frames.
            rate: Samples per second of ``waveform``; an error if it is missing.
            log_mel: VGGish examples (n, 1, 96, 64) of the audio, drawn if there is no waveform.
            out_file: A ``.png`` or ``.jpg`` file for the contact sheet, or an ``.mp4`` file for the video. None sends
                the contact sheet to the backends.
            step: Step under which the backends record the sheet.

        Raises:
            ValueError: The numbers of frames and masks differ, ``rate`` is missing, or ``out_file`` has another suffix.
        """
        if out_file is not None and Path(out_file).suffix.lower() in VIDEO_SUFFIXES:
            self.write_clip_video(out_file, name, frames, data_sample, waveform, rate, log_mel)
            return
        if out_file is not None and Path(out_file).suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f'{out_file}: expected a file name that ends with '
                             f'{", ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)}')
        sheet = self.draw_contact_sheet(name, frames, data_sample, waveform, rate, log_mel)
        if out_file is None:
            self.add_image(name.replace('/', '_'), sheet, step)
            return
        write_image(out_file, sheet)

    def draw_contact_sheet(self,
                           title: str,
                           frames: np.ndarray | Tensor | Sequence[np.ndarray],
                           data_sample: AVSDataSample,
                           waveform: np.ndarray | Tensor | None = None,
                           rate: int | None = None,
                           log_mel: np.ndarray | Tensor | None = None) -> np.ndarray:
        """Draw frames, ground truth, prediction and spectrogram as one image (height, width, 3) uint8, RGB.

        Arguments as in :meth:`add_datasample`. With both masks, each prediction is captioned with the IoU of its
        foreground. Clips of more than 10 frames are wrapped.
        """
        frames, gt, pred = self._existing_frames(frames, data_sample)
        rows = [FrameRow('frame', frames)]
        if gt is not None:
            rows.append(self.mask_row('ground truth', frames, gt))
        if pred is not None:
            rows.append(self.mask_row('prediction', frames, pred, gt))
        seconds = len(frames) * self.seconds_per_frame
        spectrogram = draw_spectrogram(seconds, waveform, rate, log_mel)
        return draw_contact_sheet(title, rows, spectrogram, self.legend(gt, pred), seconds)

    @master_only
    def write_clip_video(self,
                         out_file: str | Path,
                         title: str,
                         frames: np.ndarray | Tensor | Sequence[np.ndarray],
                         data_sample: AVSDataSample,
                         waveform: np.ndarray | Tensor | None = None,
                         rate: int | None = None,
                         log_mel: np.ndarray | Tensor | None = None) -> None:
        """Write the clip as MP4: ground truth and prediction side by side over the spectrogram, with the audio.

        Arguments as in :meth:`add_datasample`; every frame is held for ``seconds_per_frame``.
        """
        frames, gt, pred = self._existing_frames(frames, data_sample)
        panels = [self.mask_row(label, frames, masks)
                  for label, masks in (('ground truth', gt), ('prediction', pred)) if masks is not None]
        seconds = len(frames) * self.seconds_per_frame
        spectrogram = draw_spectrogram(seconds, waveform, rate, log_mel)
        stills, box = draw_video_stills(
            title, panels or [FrameRow('frame', frames)], spectrogram, self.legend(gt, pred), seconds)
        if waveform is not None:
            waveform = fit_length(to_mono(waveform), round(seconds * check_rate(rate)))
        write_video(out_file, play_stills(stills, seconds, self.fps, box), self.fps, waveform, rate)

    @property
    def classes(self) -> Sequence[str]:
        """Class names, background first; empty if the dataset is unknown."""
        return (self.dataset_meta or {}).get('classes', ())

    @property
    def palette(self) -> list[Color]:
        """Color [R, G, B] of each of 255 labels, background first."""
        meta = self.dataset_meta or {}
        palette = meta.get('palette')
        if len(self.classes) == 2:
            palette = ((0, 0, 0), self.foreground_color)
        return drawing_palette(palette, len(self.classes))

    @property
    def seconds_per_frame(self) -> float:
        """Time between two frames of a clip."""
        return self._seconds_per_frame or (self.dataset_meta or {}).get('seconds_per_frame', 1.0)

    def mask_row(self, label: str, frames: np.ndarray, masks: np.ndarray, gt: np.ndarray | None = None) -> FrameRow:
        """Overlay masks on frames, with names of the objects, and captions if ``gt`` is to be compared with.

        Args:
            label: Label of the row.
            frames: (T, H, W, 3) uint8, RGB.
            masks: (T, h, w) class of every pixel.
            gt: (T, h', w') ground truth.
        """
        names = () if len(self.classes) == 2 and masks[masks != UNLABELLED].max(initial=0) < 2 else locate_names(
            masks, self.classes)
        captions = () if gt is None else _iou_captions(masks, gt)
        return FrameRow(label, overlay_masks(frames, masks, self.palette, self.alpha), captions, names)

    def legend(self, *masks: np.ndarray | None) -> Legend:
        """Return names and colors of the classes in the masks; a single foreground class needs no legend."""
        present = sorted({int(label) for mask in masks if mask is not None for label in np.unique(mask)} -
                         {0, UNLABELLED})
        if len(self.classes) == 2 and present in ([], [1]):
            return []
        palette = self.palette
        return [(class_name(self.classes, label), palette[label]) for label in present]

    @staticmethod
    def _existing_frames(frames: np.ndarray | Tensor | Sequence[np.ndarray],
                         data_sample: AVSDataSample) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return frames, ground truth and prediction without padding frames; unlabelled frames are 255."""
        frames = display_frames(frames)
        gt, pred = (_to_numpy(data_sample.get(key)) for key in ('gt_sem_seg', 'pred_sem_seg'))
        valid, labelled = (_to_numpy(data_sample.get(key)) for key in ('valid', 'labelled'))
        for key, values in (('gt_sem_seg', gt), ('pred_sem_seg', pred), ('valid', valid), ('labelled', labelled)):
            if values is not None and len(values) != len(frames):
                raise ValueError(f"clip {data_sample.get('clip_id')!r}: {len(frames)} frames, but {key} has "
                                 f'{len(values)} entries')
        if gt is not None and labelled is not None:
            gt = np.where(labelled[:, None, None], gt, UNLABELLED).astype(np.uint8) if labelled.any() else None
        if valid is None or not valid.any():
            return frames, gt, pred
        return frames[valid], None if gt is None else gt[valid], None if pred is None else pred[valid]


def display_frames(frames: np.ndarray | Tensor | Sequence[np.ndarray]) -> np.ndarray:
    """Resize T frames (H, W, 3) uint8 to the size of drawings: the longer side has 320 to 400 pixels.

    Raises:
        ValueError: There are no frames, or they have another shape or differ in size.
    """
    resized = []
    for frame in frames:
        frame = np.asarray(frame, np.uint8)
        if frame.ndim != 3 or frame.shape[-1] != 3:
            raise ValueError(f'a frame has shape {frame.shape}, expected (H, W, 3)')
        scale = min(max(1, MIN_SIDE / max(frame.shape)), MAX_SIDE / max(frame.shape))
        size = [max(1, round(scale * length)) for length in frame.shape[1::-1]]
        resized.append(cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))
    if len({frame.shape for frame in resized}) != 1:
        raise ValueError(f'expected at least one frame, and frames of one size; found {len(resized)} frames of '
                         f'the (display) sizes {sorted({frame.shape[:2] for frame in resized})}')
    return np.stack(resized)


def draw_spectrogram(seconds: float,
                     waveform: np.ndarray | Tensor | None = None,
                     rate: int | None = None,
                     log_mel: np.ndarray | Tensor | None = None) -> np.ndarray | None:
    """Log-mel energies (64, columns) of the first ``seconds`` of the audio; None without audio.

    Arguments as in :meth:`AVSVisualizer.add_datasample`.
    """
    if waveform is not None:
        samples = resample(to_mono(waveform), check_rate(rate), SAMPLE_RATE)
        return log_mel_image(fit_length(samples, round(seconds * SAMPLE_RATE)))
    if log_mel is not None:
        # An example lasts 0.96 s, a column 10 ms.
        image = _to_numpy(log_mel).reshape(-1, 64).T
        columns = round(100 * seconds)
        return np.pad(image[:, :columns], ((0, 0), (0, max(0, columns - image.shape[1]))),
                      constant_values=np.log(LOG_OFFSET))
    return None


def _iou_captions(pred: np.ndarray, gt: np.ndarray) -> list[str]:
    captions = []
    for p, g in zip(pred, gt):
        if g.shape != p.shape:
            g = cv2.resize(g, p.shape[::-1], interpolation=cv2.INTER_NEAREST)
        if (g == UNLABELLED).all():
            captions.append('no ground truth')
            continue
        foreground = (g != 0) & (g != UNLABELLED)
        scores = binary_scores(torch.from_numpy(p != 0)[None].float(), torch.from_numpy(foreground)[None])
        captions.append(f'IoU {scores.iou.item():.2f}' + ('' if scores.sounding.item() else ' (silent)'))
    return captions


def _to_numpy(values: np.ndarray | Tensor | None) -> np.ndarray | None:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return None if values is None else np.asarray(values)

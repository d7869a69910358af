"""Visualizer of clips."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dist import master_only
from mmengine.visualization import Visualizer
from torch import Tensor

from mmavs.audio.log_mel import SAMPLE_RATE, log_mel_image
from mmavs.evaluation.functional.avsbench import binary_scores
from mmavs.registry import VISUALIZERS
from mmavs.structures import UNLABELLED, AVSDataSample
from mmavs.utils.palette import voc_palette

from .figures import LOG_OFFSET, draw_contact_sheet, draw_video_stills
from .overlay import overlay_masks
from .video import play_stills, write_video

IMAGE_SUFFIXES, VIDEO_SUFFIXES = ('.png', '.jpg', '.jpeg'), ('.mp4', )


@VISUALIZERS.register_module()
class AVSVisualizer(Visualizer):
    """Draw clips: contact sheets (PNG) and overlay videos with audio (MP4).

    Args:
        name: Name of the instance.
        vis_backends: Configs of the backends that record sheets and scalars.
        save_dir: Directory of the backends.
        alpha: Opacity of the masks in [0, 1].
        foreground_color: Color [R, G, B] of the masks in datasets with one foreground class.
        seconds_per_frame: Time between two frames of a clip.
        fps: Frames per second of the videos.

    Class names and colors are those of the dataset (``dataset_meta``, set by MMEngine's Runner). Without a palette, the
    color map of AVSBench-semantic is used.
    """

    def __init__(self,
                 name: str = 'visualizer',
                 vis_backends: list[dict] | None = None,
                 save_dir: str | None = None,
                 alpha: float = 0.5,
                 foreground_color: Sequence[int] = (255, 64, 88),
                 seconds_per_frame: float = 1.0,
                 fps: int = 24) -> None:
        super().__init__(name=name, vis_backends=vis_backends, save_dir=save_dir)
        self.alpha = alpha
        self.foreground_color = foreground_color
        self.seconds_per_frame = seconds_per_frame
        self.fps = fps

    @master_only
    def add_datasample(self,
                       name: str,
                       frames: np.ndarray | Tensor | Sequence[np.ndarray],
                       data_sample: AVSDataSample,
                       waveform: np.ndarray | Tensor | None = None,
                       log_mel: np.ndarray | Tensor | None = None,
                       out_file: str | Path | None = None,
                       step: int = 0) -> None:
        """Draw a clip with the masks of its data sample (``gt_sem_seg``, ``pred_sem_seg``).

        Padding frames (not ``valid``) are left out; unlabelled frames are shown without ground truth.

        Args:
            name: Title, usually the clip id.
            frames: T frames (H, W, 3) uint8, RGB, of any size: masks are resized to it.
            data_sample: Annotations and predictions of the clip.
            waveform: (L,) float in [-1, 1] at 16 kHz, cut or padded with silence to the duration of the frames.
            log_mel: VGGish examples (n, 1, 96, 64) of the audio, drawn if there is no waveform.
            out_file: A ``.png`` or ``.jpg`` file for the contact sheet, or an ``.mp4`` file for the video. None sends
                the contact sheet to the backends.
            step: Step under which the backends record the sheet.

        Raises:
            ValueError: The numbers of frames and masks differ, or ``out_file`` has another suffix.
        """
        if out_file is not None and Path(out_file).suffix.lower() in VIDEO_SUFFIXES:
            self.write_clip_video(out_file, name, frames, data_sample, waveform, log_mel)
            return
        sheet = self.draw_contact_sheet(name, frames, data_sample, waveform, log_mel)
        if out_file is None:
            self.add_image(name.replace('/', '_'), sheet, step)
            return
        out_file = Path(out_file)
        if out_file.suffix.lower() not in IMAGE_SUFFIXES:
            raise ValueError(f'{out_file}: expected a file name that ends with '
                             f'{", ".join(IMAGE_SUFFIXES + VIDEO_SUFFIXES)}')
        out_file.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(out_file), sheet[..., ::-1]):
            raise OSError(f'{out_file}: the image could not be written')

    def draw_contact_sheet(self,
                           title: str,
                           frames: np.ndarray | Tensor | Sequence[np.ndarray],
                           data_sample: AVSDataSample,
                           waveform: np.ndarray | Tensor | None = None,
                           log_mel: np.ndarray | Tensor | None = None) -> np.ndarray:
        """Draw frames, ground truth, prediction and spectrogram as one image (height, width, 3) uint8, RGB.

        Arguments as in :meth:`add_datasample`. With both masks, each prediction is captioned with the IoU of its
        foreground.
        """
        frames, gt, pred = self._existing_frames(frames, data_sample)
        rows = [('frame', frames)]
        if gt is not None:
            rows.append(('ground truth', self._overlay(frames, gt)))
        if pred is not None:
            rows.append(('prediction', self._overlay(frames, pred)))
        captions = None if gt is None or pred is None else _iou_captions(pred, gt)
        seconds = len(frames) * self.seconds_per_frame
        spectrogram = _spectrogram(waveform, log_mel, seconds, len(frames))
        return draw_contact_sheet(title, rows, spectrogram, captions, self._legend(gt, pred), seconds)

    @master_only
    def write_clip_video(self,
                         out_file: str | Path,
                         title: str,
                         frames: np.ndarray | Tensor | Sequence[np.ndarray],
                         data_sample: AVSDataSample,
                         waveform: np.ndarray | Tensor | None = None,
                         log_mel: np.ndarray | Tensor | None = None) -> None:
        """Write the clip as MP4: ground truth and prediction side by side over the spectrogram, with the audio.

        Arguments as in :meth:`add_datasample`; every frame is held for ``seconds_per_frame``.
        """
        frames, gt, pred = self._existing_frames(frames, data_sample)
        panels = [(label, self._overlay(frames, masks))
                  for label, masks in (('ground truth', gt), ('prediction', pred)) if masks is not None]
        seconds = len(frames) * self.seconds_per_frame
        spectrogram = _spectrogram(waveform, log_mel, seconds, len(frames))
        stills, box = draw_video_stills(
            title, panels or [('frame', frames)], spectrogram, self._legend(gt, pred), seconds)
        audio = None if waveform is None else _fit_waveform(waveform, seconds)
        write_video(out_file, play_stills(stills, seconds, self.fps, box), self.fps, audio, SAMPLE_RATE)

    @property
    def classes(self) -> Sequence[str]:
        """Class names, background first; empty if the dataset is unknown."""
        return (self.dataset_meta or {}).get('classes', ())

    @property
    def palette(self) -> Sequence[Sequence[int]]:
        """Color [R, G, B] of each class, background first."""
        if len(self.classes) == 2:
            return ((0, 0, 0), self.foreground_color)
        return (self.dataset_meta or {}).get('palette') or voc_palette(UNLABELLED)

    def _overlay(self, frames: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return overlay_masks(frames, masks, self.palette, self.alpha)

    def _legend(self, *masks: np.ndarray | None) -> list[tuple[str, Sequence[int]]]:
        """Return names and colors of the classes in the masks; a single foreground class needs no legend."""
        if len(self.classes) <= 2:
            return []
        present = np.unique(np.concatenate([m.ravel() for m in masks if m is not None] or [np.zeros(0, np.uint8)]))
        return [(self.classes[c], self.palette[c]) for c in present if c not in (0, UNLABELLED)]

    @staticmethod
    def _existing_frames(frames: np.ndarray | Tensor | Sequence[np.ndarray],
                         data_sample: AVSDataSample) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return frames, ground truth and prediction without padding frames; unlabelled frames are 255."""
        frames = np.stack([np.asarray(frame, np.uint8) for frame in frames])
        if frames.ndim != 4 or frames.shape[-1] != 3:
            raise ValueError(f'frames have shape {frames.shape}, expected (T, H, W, 3)')
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


def _spectrogram(waveform: np.ndarray | Tensor | None, log_mel: np.ndarray | Tensor | None, seconds: float,
                   num_frames: int) -> np.ndarray | None:
    if waveform is not None:
        return log_mel_image(_fit_waveform(waveform, seconds))
    if log_mel is not None:
        # An example lasts 0.96 s, a column 10 ms.
        image = _to_numpy(log_mel)[:num_frames].reshape(-1, 64).T
        columns = round(100 * seconds)
        return np.pad(image[:, :columns], ((0, 0), (0, max(0, columns - image.shape[1]))),
                      constant_values=np.log(LOG_OFFSET))
    return None


def _fit_waveform(waveform: np.ndarray | Tensor, seconds: float) -> np.ndarray:
    """Cut the waveform to a duration, or pad it with silence."""
    waveform = _to_numpy(waveform).astype(np.float32)
    if waveform.ndim != 1:
        raise ValueError(f'the waveform has shape {waveform.shape}, expected (L,): one channel')
    length = round(seconds * SAMPLE_RATE)
    return np.pad(waveform[:length], (0, max(0, length - len(waveform))))


def _to_numpy(values: np.ndarray | Tensor | None) -> np.ndarray | None:
    if isinstance(values, Tensor):
        return values.detach().cpu().numpy()
    return None if values is None else np.asarray(values)

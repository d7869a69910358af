"""Write clips in the on-disk layouts of AVSBench-object (S4, MS3) and AVSBench-semantic (AVSS)."""
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmavs.audio.encoding import encode_wav
from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.datasets.file_listing import write_csv
from mmavs.utils.files import errors_with_name
from mmavs.utils.image_files import encode_image
from mmavs.utils.json_files import write_json
from mmavs.utils.palette import voc_palette

from .clip import SyntheticClip

#: Subset -> directory, as AVSBench names them. Twins have the layout of AVSS; for VPO see ``vpo_layouts``.
DIRECTORIES = dict(s4='Single-source', ms3='Multi-sources', avss='AVSS', twins='Twins')


class DatasetFiles:
    """Write the files of a dataset below its directory, and count them.

    Attributes:
        directory: The directory.
        count: Number of files written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.count = 0

    def add_image(self, name: str | Path, image: np.ndarray) -> None:
        """Write an image, (H, W) or (H, W, 3) uint8 RGB, as PNG or JPEG."""
        suffix = Path(name).suffix
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1] if suffix == '.png' else [cv2.IMWRITE_JPEG_QUALITY, 95]
        self._add(name, encode_image(image, suffix, options))

    def add_audio(self, name: str | Path, waveform: np.ndarray) -> None:
        """Write a waveform, (L,) or (L, channels) in [-1, 1] at 16 kHz, with 16 bit."""
        self._add(name, encode_audio(waveform))

    def add_list(self, name: str | Path, rows: list[dict]) -> None:
        """Write a CSV file whose columns are the keys of the first row."""
        write_csv(self.directory / name, rows, rows[0])
        self.count += 1

    def add_json(self, name: str | Path, value: Any) -> None:
        """Write a JSON file."""
        write_json(self.directory / name, value, indent=None)
        self.count += 1

    def _add(self, name: str | Path, content: bytes) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with errors_with_name(path):
            path.write_bytes(content)
        self.count += 1


def encode_audio(waveform: np.ndarray) -> bytes:
    """Encode a waveform, (L,) or (L, channels) in [-1, 1] at 16 kHz, as WAV with 16 bit."""
    return encode_wav(np.round(waveform * 32767).astype(np.int16), SAMPLE_RATE)


def write_s4(files: DatasetFiles, clip: SyntheticClip) -> dict:
    """Write a clip in the layout of S4 (train: mask of the first frame only).

    Returns:
        The clip's row of ``s4_meta_data.csv``.
    """
    category = clip.targets[0]
    where = Path(clip.split) / category / clip.name
    data = Path('s4_data')
    for number, frame in enumerate(clip.frames, 1):
        files.add_image(data / 'visual_frames' / where / f'{clip.name}_{number}.png', frame)
    for number, mask in enumerate(clip.masks[:1] if clip.split == 'train' else clip.masks, 1):
        files.add_image(data / 'gt_masks' / where / f'{clip.name}_{number}.png', (mask > 0) * np.uint8(255))
    files.add_audio(data / 'audio_wav' / where.with_suffix('.wav'), clip.waveform)
    return dict(name=clip.name, start=0, category=category, split=clip.split, **object_columns(clip))


def write_ms3(files: DatasetFiles, clip: SyntheticClip) -> dict:
    """Write a clip in the layout of MS3.

    Returns:
        The clip's row of ``ms3_meta_data.csv``.
    """
    data = Path('ms3_data')
    for number, (frame, mask) in enumerate(zip(clip.frames, clip.masks, strict=True), 1):
        files.add_image(data / 'visual_frames' / clip.name / f'{clip.name}.mp4_{number}.png', frame)
        files.add_image(data / 'gt_masks' / clip.split / clip.name / f'{clip.name}_{number}.png',
                        (mask > 0) * np.uint8(255))
    files.add_audio(data / 'audio_wav' / clip.split / f'{clip.name}.wav', clip.waveform)
    return dict(video_id=clip.name, split=clip.split, **object_columns(clip))


def write_avss(files: DatasetFiles, clip: SyntheticClip, label: str, num_classes: int) -> dict:
    """Write a clip in the layout of AVSS (v1s train: labels of the first frame only).

    Args:
        files: Files of the data root.
        clip: Clip of five frames, or of ten for v2.
        label: 'v1s', 'v1m' or 'v2'.
        num_classes: K, background included.

    Returns:
        The clip's row of ``metadata.csv``.
    """
    data, palette = Path(label, clip.name), np.array(voc_palette(num_classes), np.uint8)
    for index, frame in enumerate(clip.frames):
        files.add_image(data / 'frames' / f'{index}.jpg', frame)
    for index, mask in enumerate(clip.masks[:1] if label == 'v1s' and clip.split == 'train' else clip.masks):
        files.add_image(data / 'labels_rgb' / f'{index}.png', palette[mask])
        files.add_image(data / 'labels_semantic' / f'{index}.png', mask)
    files.add_audio(data / 'audio.wav', clip.waveform)
    return dict(vid=clip.name, uid=clip.name, s_min=0, s_sec=0, a_obj='_'.join(clip.targets), split=clip.split,
                label=label, **object_columns(clip))


def object_columns(clip: SyntheticClip) -> dict:
    """Columns beyond the published ones: sounding and visible classes, from which off-screen audio is chosen.

    The column of the sounding classes is called ``heard``, which is a part of the file format.
    """
    return dict(heard='_'.join(clip.sounding), visible='_'.join(dict.fromkeys(clip.visible)))


def write_metadata(files: DatasetFiles, subset: str, rows: list[dict], classes: list[str]) -> None:
    """Write the subset's metadata CSV, for AVSS also ``label2idx.json`` (``classes`` begin with the background)."""
    name = dict(s4='s4_meta_data.csv', ms3='ms3_meta_data.csv').get(subset, 'metadata.csv')
    files.add_list(name, rows)
    if name == 'metadata.csv':
        files.add_json('label2idx.json', {name: i for i, name in enumerate(classes)})

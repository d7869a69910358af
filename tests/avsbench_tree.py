"""Write tiny datasets in the layouts of AVSBench, for tests."""
import csv
import json
import pickle
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image

SPLITS = ('train', 'val', 'test')
NUM_FRAMES = dict(v1s=5, v1m=5, v2=10)


def write_csv(path: Path, header: str, rows: list[list]) -> None:
    """Write a CSV file with a header of comma-separated names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as file:
        csv.writer(file).writerows([header.split(','), *rows])


def write_image(path: Path, array: np.ndarray) -> None:
    """Write a PNG or JPEG file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def write_wav(path: Path, seconds: float = 5.0, rate: int = 16000, channels: int = 1, level: float = 0.1) -> None:
    """Write a wav file of noise, or of silence with level 0."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).normal(0, level, (int(seconds * rate), channels)).clip(-1, 1)
    soundfile.write(path, samples, rate, subtype='PCM_16')


def write_log_mel(path: Path, num_examples: int = 5) -> None:
    """Write a plain pickle of a tensor that requires a gradient, as AVSBench ships them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    path.write_bytes(pickle.dumps(torch.randn(num_examples, 1, 96, 64, requires_grad=True)))


def random_frame(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Coarse noise, which stays recognizable after JPEG compression and resizing."""
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height)))


def write_s4(root: Path, clips: int = 2, size: tuple[int, int] = (40, 48)) -> Path:
    """Write S4 with ``clips`` clips in each split, alternating between dog_barking and male_speech."""
    rng, rows = np.random.default_rng(0), []
    for split in SPLITS:
        for i in range(clips):
            name, category = f'{split}{i}', ('dog_barking', 'male_speech')[i % 2]
            rows.append([name, 0, category, split])
            where = f'{split}/{category}'
            for number in range(1, 6):
                write_image(root / 's4_data/visual_frames' / where / name / f'{name}_{number}.png',
                            random_frame(rng, *size))
                if split != 'train' or number == 1:
                    mask = np.zeros(size, np.uint8)
                    mask[:10, :number + 10] = 255
                    write_image(root / 's4_data/gt_masks' / where / name / f'{name}_{number}.png', mask)
            write_wav(root / 's4_data/audio_wav' / where / f'{name}.wav')
            write_log_mel(root / 's4_data/audio_log_mel' / where / f'{name}.pkl')
    write_csv(root / 's4_meta_data.csv', 'name,start,category,split', rows)
    return root


def write_ms3(root: Path, clips: int = 2, size: tuple[int, int] = (40, 48), mask_prior: bool = False) -> Path:
    """Write MS3 with ``clips`` clips in each split; frames hold their mask in the blue channel (0 or 255)."""
    rng, rows = np.random.default_rng(1), []
    for split in SPLITS:
        for i in range(clips):
            name = f'{split}_{i}'
            rows.append([name, split])
            for number in range(1, 6):
                frame = random_frame(rng, *size).copy()
                mask = np.zeros(size, np.uint8)
                top, left = rng.integers(0, 20, 2)
                mask[top:top + 12, left:left + 16] = 255
                frame[..., 2] = mask
                write_image(root / 'ms3_data/visual_frames' / name / f'{name}.mp4_{number}.png', frame)
                write_image(root / 'ms3_data/gt_masks' / split / name / f'{name}_{number}.png', mask)
                if mask_prior:
                    write_image(root / 'priors' / name / f'{name}_{number}_mask_color.png', frame)
            write_wav(root / 'ms3_data/audio_wav' / split / f'{name}.wav')
            write_log_mel(root / 'ms3_data/audio_log_mel' / split / f'{name}.pkl')
    write_csv(root / 'ms3_meta_data.csv', 'video_id,split', rows)
    return root


def write_avss(root: Path, labels: str = 'labels_semantic', size: tuple[int, int] = (36, 60)) -> Path:
    """Write AVSS with a clip of each part in each split; ``labels`` is the directory of labels to write."""
    from mmavs.datasets.avss import CLASSES
    from mmavs.utils.palette import voc_palette
    rng, rows = np.random.default_rng(2), []
    palette = np.array(voc_palette(71), np.uint8)
    for split in SPLITS:
        for part, num_frames in NUM_FRAMES.items():
            uid = f'{split}_{part}'
            rows.append([uid, uid, 0, 0, 'dog', split, part])
            for i in range(num_frames):
                write_image(root / part / uid / f'frames/{i}.jpg', random_frame(rng, *size))
                if part != 'v1s' or split != 'train' or i == 0:
                    classes = np.zeros(size, np.uint8)
                    classes[:18], classes[18:, :20] = 17, (i + len(split)) % 70 + 1
                    write_image(root / part / uid / labels / f'{i}.png',
                                classes if labels == 'labels_semantic' else palette[classes])
            write_wav(root / part / uid / 'audio.wav', num_frames)
    write_csv(root / 'metadata.csv', 'vid,uid,s_min,s_sec,a_obj,split,label', rows)
    (root / 'label2idx.json').write_text(json.dumps({name: i for i, name in enumerate(CLASSES)}))
    return root

"""The on-disk layouts of VPO: 'cavp', with a sound for each object, and 'clean', with the mix of them."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmavs.datasets.vpo import SUBSETS

from .clip import SyntheticClip
from .layouts import object_columns, write_picture, write_rows, write_sound


def write_cavp(folder: Path, clip: SyntheticClip, number: int, subset: str, type_: str,
               category_ids: Sequence[int], classes: Sequence[str]) -> list[dict]:
    """Write a clip in the layout of CAVP.

    Args:
        folder: Data root.
        clip: One frame, with the sounds of its objects.
        number: Names the picture and its annotation.
        subset: 'vpo-ss', 'vpo-ms' or 'vpo-msmi'.
        type_: 'VPO-SS', 'VPO-MS' or 'VPO-MSMI': the folder of the picture.
        category_ids: Mask value of each class.
        classes: Names of the classes, background first.

    Returns:
        The rows of the CSV file, one for each sound.
    """
    image = name = f'{number:012}'
    if subset == 'vpo-ss':
        image = f'{clip.sounding[0]}/{image}'
        name = f'{image}_{number:012}'
    write_picture(folder / 'VPO' / type_ / 'data' / f'{image}.jpg', clip.frames[0])
    write_picture(folder / 'VPO' / type_ / 'mask' / f'{name}.png', np.array(category_ids, np.uint8)[clip.masks[0]])
    rows = []
    for index, sound in enumerate(clip.sounds):
        file = f'{clip.name}_{index}'
        write_sound(folder / 'vggsound_bench/VGGSound/audios' / f'{file}.wav', sound.waveform)
        rows.append(
            dict(
                cateName=sound.category,
                cateId=category_ids[list(classes).index(sound.category)],
                img_Id=number,
                ann_Ids=number,
                vgg_file=file,
                audio_pos=sound.position,
                multi_instance=int(type_ == SUBSETS['vpo-msmi']),
                split=clip.split,
                **object_columns(clip)))
    return rows


def write_clean(folder: Path, clip: SyntheticClip, subset: str, classes: Sequence[str]) -> list[dict]:
    """Write a clip in the layout of DDESeg's copy; see :func:`write_cavp`.

    Returns:
        The row of ``vpo_data_clean.csv``.
    """
    uid = f'{SUBSETS[subset]}/{clip.name}'
    frame, mask = f'{clip.name}.jpg', f'{clip.name}.png'
    write_picture(folder / uid / 'frames' / frame, clip.frames[0])
    write_picture(folder / uid / 'labels_semantic' / mask, clip.masks[0])
    sides = [(1 - sound.position, sound.position) for sound in clip.sounds]
    stereo = sum(sound.waveform[:, None] * np.array(side, np.float32) for sound, side in zip(clip.sounds, sides))
    write_sound(folder / uid / 'mono_audio.wav', clip.waveform)
    write_sound(folder / uid / 'stereo_audio.wav', stereo)
    indices = sorted({list(classes).index(name) for name in clip.sounding})
    split = 'train' if clip.split == 'train' else 'test'
    return [dict(uid=uid, frame=frame, mask=mask, classes=str(indices), split=split, type=SUBSETS[subset],
                 **object_columns(clip))]


def write_vpo_metadata(folder: Path, subset: str, layout: str, rows: list[dict]) -> None:
    """Write the CSV file of a subset."""
    path = folder / 'vpo_data_clean.csv'
    if layout == 'cavp':
        path = folder / 'VPO' / SUBSETS[subset] / f"{subset.replace('-', '_')}_data_stereo.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, rows)

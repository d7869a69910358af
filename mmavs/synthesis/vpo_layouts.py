"""Write clips in the on-disk layouts of VPO: 'cavp' with the audio of each object, 'clean' with their mix."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmavs.datasets.vpo import SUBSETS

from .clip import SyntheticClip
from .layouts import DatasetFiles, object_columns


def write_cavp(files: DatasetFiles, clip: SyntheticClip, number: int, subset: str, type_: str,
               category_ids: Sequence[int], classes: Sequence[str]) -> list[dict]:
    """Write a clip in the layout of CAVP.

    Args:
        files: Files of the data root.
        clip: Clip of one frame, with the audio of its objects.
        number: Id of the image and its annotation.
        subset: 'vpo-ss', 'vpo-ms' or 'vpo-msmi'.
        type_: 'VPO-SS', 'VPO-MS' or 'VPO-MSMI': the directory of the image.
        category_ids: Mask value of each class.
        classes: Names of the classes, background first.

    Returns:
        The rows of the CSV file, one for each sounding object.
    """
    image = name = f'{number:012}'
    if subset == 'vpo-ss':
        image = f'{clip.targets[0]}/{image}'
        name = f'{image}_{number:012}'
    files.add_image(Path('VPO', type_, 'data', f'{image}.jpg'), clip.frames[0])
    files.add_image(Path('VPO', type_, 'mask', f'{name}.png'), np.array(category_ids, np.uint8)[clip.masks[0]])
    rows = []
    for index, audio in enumerate(clip.object_audio):
        file = f'{clip.name}_{index}'
        files.add_audio(f'vggsound_bench/VGGSound/audios/{file}.wav', audio.waveform)
        rows.append(
            dict(
                cateName=audio.category,
                cateId=category_ids[list(classes).index(audio.category)],
                img_Id=number,
                ann_Ids=number,
                vgg_file=file,
                audio_pos=audio.position,
                multi_instance=int(type_ == SUBSETS['vpo-msmi']),
                split=clip.split,
                **object_columns(clip)))
    return rows


def write_clean(files: DatasetFiles, clip: SyntheticClip, subset: str, classes: Sequence[str]) -> list[dict]:
    """Write a clip in the layout of DDESeg's copy; see :func:`write_cavp`.

    Returns:
        The row of ``vpo_data_clean.csv``.
    """
    uid = f'{SUBSETS[subset]}/{clip.name}'
    frame, mask = f'{clip.name}.jpg', f'{clip.name}.png'
    files.add_image(Path(uid, 'frames', frame), clip.frames[0])
    files.add_image(Path(uid, 'labels_semantic', mask), clip.masks[0])
    gains = [np.array((1 - audio.position, audio.position), np.float32) for audio in clip.object_audio]
    stereo = sum(audio.waveform[:, None] * gain for audio, gain in zip(clip.object_audio, gains))
    files.add_audio(f'{uid}/mono_audio.wav', clip.waveform)
    files.add_audio(f'{uid}/stereo_audio.wav', stereo)
    indices = sorted({list(classes).index(name) for name in clip.targets})
    split = 'train' if clip.split == 'train' else 'test'
    return [dict(uid=uid, frame=frame, mask=mask, classes=str(indices), split=split, type=SUBSETS[subset],
                 **object_columns(clip))]


def write_vpo_metadata(files: DatasetFiles, subset: str, layout: str, rows: list[dict]) -> None:
    """Write the CSV file of a subset."""
    name = Path('vpo_data_clean.csv')
    if layout == 'cavp':
        name = Path('VPO', SUBSETS[subset], f"{subset.replace('-', '_')}_data_stereo.csv")
    files.add_list(name, rows)

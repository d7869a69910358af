"""VPO: images of COCO with audio of VGGSound, one frame per clip."""
import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log

from mmavs.registry import DATASETS
from mmavs.utils.palette import voc_palette

from .clip_dataset import ClipDataset
from .file_listing import check_names, read_csv

#: Class -> value in the masks: ids of COCO, and 92 to 94 for VPO's division of COCO's person.
CATEGORY_IDS = {
    'background': 0, 'airplane': 5, 'baby': 94, 'bird': 16, 'bus': 6, 'car': 3, 'cat': 17, 'cell phone': 77, 'cow': 21,
    'dog': 18, 'elephant': 22, 'female': 93, 'horse': 19, 'keyboard': 76, 'male': 92, 'motorcycle': 4, 'mouse': 74,
    'sheep': 20, 'skateboard': 41, 'sports ball': 37, 'tennis racket': 43, 'zebra': 24
}
CLASSES = tuple(CATEGORY_IDS)

#: Subset -> its directory, which is also its type in the layout 'clean'.
SUBSETS = {'vpo-ss': 'VPO-SS', 'vpo-ms': 'VPO-MS', 'vpo-msmi': 'VPO-MSMI'}


@DATASETS.register_module()
class VPODataset(ClipDataset):
    """VPO (visual post-production): one image and 3 s of audio per clip, 22 classes with the background.

    An image of COCO is combined with audio of VGGSound, one file for each sounding object. 'vpo-ss': one object sounds.
    'vpo-ms': several, of different classes. 'vpo-msmi': several, also of one class, distinguished by the direction that
    their audio comes from. There is no validation split: val in the CSV file is test, as in the published code.

    Layout 'cavp' is the original::

        VPO/VPO-SS/    vpo_ss_data_stereo.csv     data/{class}/{image}.jpg   mask/{class}/{image}_{annotation}.png
        VPO/VPO-MS/    vpo_ms_data_stereo.csv     data/{image}.jpg           mask/{image}.png
        VPO/VPO-MSMI/  vpo_msmi_data_stereo.csv   data/{image}.jpg           mask/{image}.png
        vggsound_bench/VGGSound/audios/{vgg_file}.wav

    A row of its CSV files is an object with its audio. The rows of an image are one clip; in 'vpo-ss' every row is.
    Images of 'vpo-msmi' whose ``multi_instance`` is 0 are stored in VPO-MS. Masks hold ids of categories.

    Layout 'clean' is the copy of DDESeg: ``vpo_data_clean.csv``, and for each clip ``{uid}/frames/{image}``,
    ``{uid}/labels_semantic/{mask}`` (classes) and the mix of its audio, ``{uid}/mono_audio.wav`` and
    ``stereo_audio.wav``.

    The clips have ``audio_paths``, ``audio_positions`` and ``audio_mode`` for :class:`LoadMixedAudio`.

    Args:
        data_root: Directory that holds VPO and vggsound_bench (layout 'cavp') or ``vpo_data_clean.csv`` ('clean').
        split: 'train' or 'test'.
        subset: 'vpo-ss', 'vpo-ms' or 'vpo-msmi'.
        layout: 'cavp' or 'clean'.
        audio_mode: 'mono' or 'stereo': left and right by the position of the object (column ``audio_pos``, 0 is left, 1
            is right) or, in the layout 'clean', of the file.
        data_prefix: ``audio`` replaces the directory of the audio of the layout 'cavp'.
        **options: Other arguments of :class:`ClipDataset`. ``metainfo`` may state the ``classes``, background first, of
            a dataset with others; their ids are those of the column ``cateId``.

    Source: Chen et al., Unraveling Instance Associations: A Closer Look for Audio-Visual Segmentation, CVPR 2024;
    layouts as in the released code of CAVP and DDESeg.
    """

    METAINFO = dict(
        classes=CLASSES, palette=voc_palette(len(CLASSES)), events=CLASSES, clip_length=1, seconds_per_frame=3.)
    SHARED_DIRECTORIES = True

    def __init__(self,
                 data_root: str,
                 split: str,
                 subset: str,
                 layout: str = 'cavp',
                 audio_mode: str = 'mono',
                 data_prefix: dict | None = None,
                 **options: Any) -> None:
        for name, value, expected in (('subset', subset, SUBSETS), ('layout', layout, ('cavp', 'clean')),
                                      ('audio_mode', audio_mode, ('mono', 'stereo'))):
            if value not in expected:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, expected))}")
        self.layout = layout
        self.audio_mode = audio_mode
        self.SUBSET = subset
        self.directory = SUBSETS[subset]
        if layout == 'cavp':
            self.ANN_FILE = f"VPO/{self.directory}/{subset.replace('-', '_')}_data_stereo.csv"
            data_prefix = dict(vpo='VPO', audio='vggsound_bench/VGGSound/audios') | (data_prefix or {})
        else:
            self.ANN_FILE = 'vpo_data_clean.csv'
        super().__init__(data_root, split, data_prefix=data_prefix, **options)

    def read_metadata(self) -> list[dict]:
        """Make one dict for each clip of the subset, with its ``split`` and a ``clip_id`` that is unique in it."""
        clips = self._read_cavp() if self.layout == 'cavp' else self._read_clean()
        seen: Counter[tuple[str, str]] = Counter()
        for clip in clips:
            key = clip['split'], clip['clip_id']  # a clip in two splits keeps its id, by which it is found
            seen[key] += 1
            if seen[key] > 1:
                clip['clip_id'] += f' ({seen[key]})'
        return clips

    def load_data_list(self) -> list[dict]:
        """List the clips of the split, with a warning if rows of its CSV file are repeated."""
        clips = super().load_data_list()
        counts = Counter(tuple(row.values()) for row in self._read_rows(()) if row['split'] == self.split)
        repeated = [row for row, count in counts.items() if count > 1]
        if repeated:
            print_log(f'{self.ann_file}: {len(repeated)} row(s) of the split {self.split!r} are repeated and count '
                      f"each time, as in the published code: {','.join(repeated[0])}{', ...' * (len(repeated) > 1)}; "
                      'keep one of each unless that is meant', 'current', logging.WARNING)
        return clips

    def describe_clip(self, row: dict) -> dict:
        """Make the dict of one clip."""
        categories = list(dict.fromkeys(row['categories']))
        category = categories[0] if len(categories) == 1 else None
        events = list(self._metainfo['events'])
        return dict(
            clip_id=row['clip_id'],
            subset=self.SUBSET,
            split=self.split,
            category=category,
            sounding=categories,
            event_id=events.index(category) if category in events else None,
            frame_paths=[row['frame']],
            mask_paths=[row['mask']],
            mask_prior_paths=None,
            audio_path=None,
            log_mel_path=None,
            audio_paths=row['audio'],
            audio_positions=row['positions'],
            audio_mode=self.audio_mode,
            valid=[True],
            labelled=[True],
            num_classes=len(self._metainfo['classes']),
            **row['encoding'])

    def check_flags(self) -> list[str]:
        """See :class:`ClipDataset`."""
        return ['--layout', self.layout, '--audio-mode', self.audio_mode, *super().check_flags()]

    def _read_rows(self, columns: Sequence[str]) -> list[dict]:
        """Read the rows of the CSV file, val as test."""
        advice = 'add what is missing'
        if 'audio_pos' in columns:
            advice += ", or use audio_mode='mono', which needs no audio_pos"
        rows = read_csv(self.ann_file, columns, advice)
        check_names(rows, ('vgg_file', 'split'), self.ann_file)
        return [{**row, 'split': 'test' if row['split'] == 'val' else row['split']} for row in rows]

    def _read_cavp(self) -> list[dict]:
        columns = ['cateName', 'cateId', 'img_Id', 'vgg_file', 'split']
        columns += dict(zip(SUBSETS, (['ann_Ids'], [], ['multi_instance'])))[self.SUBSET]
        if self.audio_mode == 'stereo':
            columns.append('audio_pos')
        rows = self._read_rows(columns)
        encoding = dict(mask_encoding='category', category_ids=self._category_ids(rows))
        # In SS every row is a clip; in MS and MSMI the rows of an image are one.
        grouped: dict[object, list[dict]] = {}
        for number, row in enumerate(rows):
            image = self._number(row, 'img_Id')
            grouped.setdefault(number if self.SUBSET == 'vpo-ss' else image, []).append(row)
        return [self._describe_cavp(rows, encoding) for rows in grouped.values()]

    def _describe_cavp(self, rows: list[dict], encoding: dict) -> dict:
        """Make one clip of the rows of its objects."""
        first = rows[0]
        shared = dict(split={row['split'] for row in rows})
        if self.SUBSET == 'vpo-msmi':
            shared['multi_instance'] = {int(self._number(row, 'multi_instance')) for row in rows}
        for column, values in shared.items():
            if len(values) > 1:
                raise ValueError(f"{self.ann_file}: the rows of the image {first['img_Id']} have different values in "
                                 f"the column {column!r}: {', '.join(map(str, sorted(values)))}")
        image = self._number(first, 'img_Id')
        directory, name = self.directory, image
        if self.SUBSET == 'vpo-ss':
            image = f"{first['cateName']}/{image}"
            name = f"{image}_{self._number(first, 'ann_Ids')}"
        elif shared.get('multi_instance') == {0}:
            directory = SUBSETS['vpo-ms']
        directory = os.path.join(self.data_prefix['vpo'], directory)
        positions = [self._position(row) for row in rows] if self.audio_mode == 'stereo' else None
        return dict(
            split=first['split'],
            clip_id=f"{name}/{first['vgg_file']}" if self.SUBSET == 'vpo-ss' else name,
            categories=[row['cateName'] for row in rows],
            frame=os.path.join(directory, 'data', f'{image}.jpg'),
            mask=os.path.join(directory, 'mask', f'{name}.png'),
            audio=[os.path.join(self.data_prefix['audio'], f"{row['vgg_file']}.wav") for row in rows],
            positions=positions,
            visible=first.get('visible'),
            encoding=encoding)

    def _category_ids(self, rows: list[dict]) -> tuple[int, ...]:
        """The mask value of each class: the published one, for other classes that of the CSV file."""
        classes = self._metainfo['classes']
        ids = dict(CATEGORY_IDS) if tuple(classes) == CLASSES else dict(background=0)
        for row in rows:
            name, value = row['cateName'], int(self._number(row, 'cateId'))
            if name not in classes:
                raise ValueError(f'{self.ann_file}: cateName {name!r} is none of the {len(classes)} classes of the '
                                 'dataset; for a dataset of other classes state them in the config: '
                                 "metainfo=dict(classes=['background', ...])")
            if ids.setdefault(name, value) != value or not 0 < value < 255:
                raise ValueError(f'{self.ann_file}: cateId {value} of {name!r}, expected '
                                 f"{ids[name] if 0 < ids[name] < 255 else 'an id from 1 to 254'}")
        # Classes without a row occur in no mask and take ids that are left over.
        used = [ids[name] for name in classes if name in ids]
        if len(set(used)) < len(used):
            raise ValueError(f'{self.ann_file}: two classes share a cateId, found {used}')
        left_over = iter(sorted(set(range(1, 255)) - set(used), reverse=True))
        return tuple(ids[name] if name in ids else next(left_over) for name in classes)

    def _number(self, row: dict, column: str) -> str:
        """Read a whole number of the CSV file (5, 5.0 or [5]); returned with twelve digits, as in COCO's file names."""
        match = re.fullmatch(r'\[?\s*(\d{1,18})(\.0*)?\s*\]?', row[column])
        if match is None:
            raise ValueError(f'{self.ann_file}: {column} is {row[column]!r}, expected one whole number')
        return match[1].zfill(12)

    def _position(self, row: dict) -> float:
        try:
            position = float(row['audio_pos'])
        except ValueError:
            position = float('nan')
        if not 0 <= position <= 1:
            raise ValueError(f"{self.ann_file}: audio_pos is {row['audio_pos']!r} for the image {row['img_Id']}, "
                             'expected a number from 0 (left) to 1 (right)')
        return position

    def _read_clean(self) -> list[dict]:
        rows = self._read_rows(('split', 'type'))
        # The other columns are identified by their order.
        names = [name for name in (rows[0] if rows else ()) if name not in ('split', 'type')]
        if rows and len(names) < 4:
            raise ValueError(f"{self.ann_file}: the columns are {', '.join(rows[0])}, expected those of the clip, its "
                             'frame, its mask and its class indices, and split and type')
        types = sorted({row['type'] for row in rows})
        if rows and self.directory not in types:
            found = ', '.join(map(repr, types))
            raise ValueError(f'{self.ann_file}: no clip of type {self.directory!r}, found {found}')
        chosen = [row for row in rows if row['type'] == self.directory]
        check_names(chosen, names[:3], self.ann_file)
        return [self._describe_clean(row, *(row[name] for name in names[:4])) for row in chosen]

    def _describe_clean(self, row: dict, uid: str, frame: str, mask: str, indices: str) -> dict:
        classes = self._metainfo['classes']
        numbers = [re.fullmatch(r'(\d{1,4})(\.0*)?', word) for word in re.findall(r'[^\s,;\[\]()]+', indices)]
        present = [int(number[1]) for number in numbers if number]
        if not present or not all(numbers) or max(present) >= len(classes):
            raise ValueError(f'{self.ann_file}: the class indices of {uid} are {indices!r}, expected a list of indices '
                             f'below {len(classes)}; clip, frame, mask and class indices are the first four columns '
                             f"except split and type, found {', '.join(map(repr, row))}")
        directory = os.path.join(self.data_root, uid)
        return dict(
            split=row['split'],
            clip_id=f'{uid}/{os.path.splitext(frame)[0]}',
            categories=[classes[index] for index in present if index],
            frame=os.path.join(directory, 'frames', frame),
            mask=os.path.join(directory, 'labels_semantic', mask),
            audio=[os.path.join(directory, f'{self.audio_mode}_audio.wav')],
            positions=None,
            visible=row.get('visible'),
            encoding=dict(mask_encoding='index'))

"""VPO: pictures of COCO with sounds of VGGSound, one frame a clip."""
import os
import re
from collections.abc import Callable, Sequence

from mmavs.registry import DATASETS
from mmavs.utils.palette import voc_palette

from .clip_dataset import ClipDataset
from .file_listing import read_csv

#: Class -> value in the masks: ids of COCO, and 92 to 94 for VPO's division of COCO's person.
CATEGORY_IDS = {
    'background': 0, 'airplane': 5, 'baby': 94, 'bird': 16, 'bus': 6, 'car': 3, 'cat': 17, 'cell phone': 77, 'cow': 21,
    'dog': 18, 'elephant': 22, 'female': 93, 'horse': 19, 'keyboard': 76, 'male': 92, 'motorcycle': 4, 'mouse': 74,
    'sheep': 20, 'skateboard': 41, 'sports ball': 37, 'tennis racket': 43, 'zebra': 24
}
CLASSES = tuple(CATEGORY_IDS)

#: Subset -> its folder, which is also its type in the layout 'clean'.
SUBSETS = {'vpo-ss': 'VPO-SS', 'vpo-ms': 'VPO-MS', 'vpo-msmi': 'VPO-MSMI'}


@DATASETS.register_module()
class VPODataset(ClipDataset):
    """VPO (visual post-production): a picture, 3 s of sound, 22 classes with the background.

    A picture of COCO is given a sound of VGGSound for each object that sounds. 'vpo-ss': one object sounds. 'vpo-ms':
    several, of different classes. 'vpo-msmi': several, also of one class, told apart by where their sounds come from.
    There is no validation split: what the CSV file calls val is test, as in the published code.

    Layout 'cavp' is the original::

        VPO/VPO-SS/    vpo_ss_data_stereo.csv     data/{class}/{image}.jpg   mask/{class}/{image}_{annotation}.png
        VPO/VPO-MS/    vpo_ms_data_stereo.csv     data/{image}.jpg           mask/{image}.png
        VPO/VPO-MSMI/  vpo_msmi_data_stereo.csv   data/{image}.jpg           mask/{image}.png
        vggsound_bench/VGGSound/audios/{sound}.wav

    A row of its CSV files is an object with its sound; the rows of a picture are one clip, of 'vpo-ss' every row is.
    Pictures of 'vpo-msmi' whose ``multi_instance`` is 0 lie in VPO-MS. Masks hold ids of categories.

    Layout 'clean' is the copy of DDESeg: ``vpo_data_clean.csv``, and for each clip ``{uid}/frames/{image}``,
    ``{uid}/labels_semantic/{mask}`` (classes) and the mix of its sounds, ``{uid}/mono_audio.wav`` and
    ``stereo_audio.wav``.

    The clips have ``audio_paths``, ``audio_positions`` and ``audio_mode`` for :class:`LoadMixedAudio`.

    Args:
        data_root: Folder that holds VPO and vggsound_bench (layout 'cavp') or ``vpo_data_clean.csv`` ('clean').
        split: 'train' or 'test'.
        subset: 'vpo-ss', 'vpo-ms' or 'vpo-msmi'.
        layout: 'cavp' or 'clean'.
        audio_mode: 'mono' or 'stereo': left and right by the position of the object (column ``audio_pos``, 0 is left, 1
            is right) or, in the layout 'clean', of the file.
        data_prefix: ``audio`` replaces the folder of the sounds of the layout 'cavp'.
        metainfo: ``classes``, background first, of a set with others; their ids are those of the column ``cateId``.

    Source: Chen et al., Unraveling Instance Associations: A Closer Look for Audio-Visual Segmentation, CVPR 2024;
    layouts as in the released code of CAVP and DDESeg.
    """

    METAINFO = dict(classes=CLASSES, palette=voc_palette(len(CLASSES)), events=CLASSES)
    SHARED_FOLDERS = True

    def __init__(self,
                 data_root: str,
                 split: str,
                 subset: str,
                 layout: str = 'cavp',
                 audio_mode: str = 'mono',
                 data_prefix: dict | None = None,
                 metainfo: dict | None = None,
                 pipeline: Sequence[dict | Callable] = (),
                 indices: int | Sequence[int] | None = None,
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        for name, value, expected in (('subset', subset, SUBSETS), ('layout', layout, ('cavp', 'clean')),
                                      ('audio_mode', audio_mode, ('mono', 'stereo'))):
            if value not in expected:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, expected))}")
        self.layout = layout
        self.audio_mode = audio_mode
        self.SUBSET = subset
        self.folder = SUBSETS[subset]
        if layout == 'cavp':
            self.ANN_FILE = f"VPO/{self.folder}/{subset.replace('-', '_')}_data_stereo.csv"
            data_prefix = dict(vpo='VPO', audio='vggsound_bench/VGGSound/audios') | (data_prefix or {})
        else:
            self.ANN_FILE = 'vpo_data_clean.csv'
        super().__init__(
            data_root=data_root,
            split=split,
            data_prefix=data_prefix,
            metainfo=metainfo,
            pipeline=pipeline,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init)

    def read_metadata(self) -> list[dict]:
        """One dict for each clip of the subset, with its ``split`` and unique ``clip_id``."""
        clips = self._read_cavp() if self.layout == 'cavp' else self._read_clean()
        seen: dict[str, int] = {}
        for clip in clips:
            times = seen[clip['clip_id']] = seen.get(clip['clip_id'], 0) + 1
            if times > 1:
                clip['clip_id'] += f' ({times})'
        return clips

    def describe_clip(self, row: dict) -> dict:
        """The dict of one clip."""
        categories = list(dict.fromkeys(row['categories']))
        category = categories[0] if len(categories) == 1 else None
        events = list(self._metainfo['events'])
        return dict(
            clip_id=row['clip_id'],
            subset=self.SUBSET,
            split=self.split,
            category=category,
            heard=categories,
            event_id=events.index(category) if category in events else None,
            frame_paths=[row['frame']],
            mask_paths=[row['mask']],
            mask_prior_paths=None,
            audio_path=None,
            log_mel_path=None,
            audio_paths=row['sounds'],
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
        """The rows of the CSV file, val as test."""
        advice = 'add what is missing'
        if 'audio_pos' in columns:
            advice += ", or use audio_mode='mono', which needs no audio_pos"
        rows = read_csv(self.ann_file, columns, advice)
        return [{**row, 'split': 'test' if row['split'] == 'val' else row['split']} for row in rows]

    def _read_cavp(self) -> list[dict]:
        columns = ['cateName', 'cateId', 'img_Id', 'vgg_file', 'split']
        columns += dict(zip(SUBSETS, (['ann_Ids'], [], ['multi_instance'])))[self.SUBSET]
        columns += ['audio_pos'] * (self.audio_mode == 'stereo')
        rows = self._read_rows(columns)
        encoding = dict(mask_encoding='category', category_ids=self._category_ids(rows))
        # Every row of SS is a clip; in MS and MSMI the rows of a picture are one.
        grouped: dict[object, list[dict]] = {}
        for number, row in enumerate(rows):
            image = self._number(row, 'img_Id')
            grouped.setdefault(number if self.SUBSET == 'vpo-ss' else image, []).append(row)
        return [self._describe_cavp(rows, encoding) for rows in grouped.values()]

    def _describe_cavp(self, rows: list[dict], encoding: dict) -> dict:
        """One clip of the rows of its objects."""
        first = rows[0]
        shared = dict(split={row['split'] for row in rows})
        if self.SUBSET == 'vpo-msmi':
            shared['multi_instance'] = {int(self._number(row, 'multi_instance')) for row in rows}
        for column, values in shared.items():
            if len(values) > 1:
                raise ValueError(f"{self.ann_file}: the rows of the image {first['img_Id']} have different values in "
                                 f"the column {column!r}: {', '.join(map(str, sorted(values)))}")
        image = self._number(first, 'img_Id')
        folder, name = self.folder, image
        if self.SUBSET == 'vpo-ss':
            image = f"{first['cateName']}/{image}"
            name = f"{image}_{self._number(first, 'ann_Ids')}"
        elif shared.get('multi_instance') == {0}:
            folder = SUBSETS['vpo-ms']
        folder = os.path.join(self.data_prefix['vpo'], folder)
        positions = [self._position(row) for row in rows] if self.audio_mode == 'stereo' else None
        return dict(
            split=first['split'],
            clip_id=f"{name}/{first['vgg_file']}" if self.SUBSET == 'vpo-ss' else name,
            categories=[row['cateName'] for row in rows],
            frame=os.path.join(folder, 'data', f'{image}.jpg'),
            mask=os.path.join(folder, 'mask', f'{name}.png'),
            sounds=[os.path.join(self.data_prefix['audio'], f"{row['vgg_file']}.wav") for row in rows],
            positions=positions,
            visible=first.get('visible'),
            encoding=encoding)

    def _category_ids(self, rows: list[dict]) -> tuple[int, ...]:
        """The mask value of each class: as published, of other classes that of the CSV file."""
        classes = self._metainfo['classes']
        ids = dict(CATEGORY_IDS) if tuple(classes) == CLASSES else dict(background=0)
        for row in rows:
            name, value = row['cateName'], int(self._number(row, 'cateId'))
            if name not in classes:
                raise ValueError(f'{self.ann_file}: cateName {name!r} is none of the {len(classes)} classes of the '
                                 'data set; for a set of other classes state them in the config: '
                                 "metainfo=dict(classes=['background', ...])")
            if ids.setdefault(name, value) != value or not 0 < value < 255:
                raise ValueError(f'{self.ann_file}: cateId {value} of {name!r}, expected '
                                 f"{ids[name] if 0 < ids[name] < 255 else 'an id from 1 to 254'}")
        # Classes without any row occur in no mask.
        known = [ids[name] for name in classes if name in ids]
        if len(set(known)) < len(known):
            raise ValueError(f'{self.ann_file}: two classes share a cateId, found {known}')
        unused = iter(sorted(set(range(1, 255)) - set(known), reverse=True))
        return tuple(ids[name] if name in ids else next(unused) for name in classes)

    def _number(self, row: dict, column: str) -> str:
        """A whole number of the CSV file (5, 5.0 or [5]) with twelve digits, as COCO's file names have it."""
        match = re.fullmatch(r'\[?\s*(\d+)(\.0*)?\s*\]?', row[column])
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
        # The other columns are known by their order.
        names = [name for name in (rows[0] if rows else ()) if name not in ('split', 'type')]
        if rows and len(names) < 4:
            raise ValueError(f"{self.ann_file}: the columns are {', '.join(rows[0])}, expected those of the clip, its "
                             'frame, its mask and its class indices, and split and type')
        types = sorted({row['type'] for row in rows})
        if rows and self.folder not in types:
            raise ValueError(f"{self.ann_file}: no clip of type {self.folder!r}, found {', '.join(map(repr, types))}")
        return [
            self._describe_clean(row, *(row[name] for name in names[:4])) for row in rows if row['type'] == self.folder
        ]

    def _describe_clean(self, row: dict, uid: str, frame: str, mask: str, indices: str) -> dict:
        classes = self._metainfo['classes']
        present = [int(index) for index in re.findall(r'\d+', indices)]
        if not present or max(present) >= len(classes) or re.search('[A-Za-z]', indices):
            raise ValueError(f'{self.ann_file}: the class indices of {uid} are {indices!r}, expected a list of indices '
                             f'below {len(classes)}; clip, frame, mask and class indices are the first four columns '
                             f"but split and type, found {', '.join(map(repr, row))}")
        folder = os.path.join(self.data_root, uid)
        return dict(
            split=row['split'],
            clip_id=f'{uid}/{os.path.splitext(frame)[0]}',
            categories=[classes[index] for index in present if index],
            frame=os.path.join(folder, 'frames', frame),
            mask=os.path.join(folder, 'labels_semantic', mask),
            sounds=[os.path.join(folder, f'{self.audio_mode}_audio.wav')],
            positions=None,
            visible=row.get('visible'),
            encoding=dict(mask_encoding='index'))

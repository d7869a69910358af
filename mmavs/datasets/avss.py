"""AVSBench-semantic (AVSS): class maps of the sounding objects."""
import os
import re
from pathlib import Path
from typing import Any

from mmavs.registry import DATASETS
from mmavs.utils.json_files import read_json
from mmavs.utils.palette import voc_palette

from .clip_dataset import ClipDataset
from .file_listing import check_names, read_csv

# Frames of a clip, by part.
NUM_FRAMES = dict(v1s=5, v1m=5, v2=10)
# Directories of the mask priors of a clip; the first that exists is read.
PRIOR_DIRECTORIES = ('frames', 'processed_frames_384', 'processed_frames')

CLASSES = (
    'background', 'accordion', 'airplane', 'axe', 'baby', 'bassoon', 'bell', 'bird', 'boat', 'boy', 'bus', 'car', 'cat',
    'cello', 'clarinet', 'clipper', 'clock', 'dog', 'donkey', 'drum', 'duck', 'elephant', 'emergency-car', 'erhu',
    'flute', 'frying-food', 'girl', 'goose', 'guitar', 'gun', 'guzheng', 'hair-dryer', 'handpan', 'harmonica', 'harp',
    'helicopter', 'hen', 'horse', 'keyboard', 'leopard', 'lion', 'man', 'marimba', 'missile-rocket', 'motorcycle',
    'mower', 'parrot', 'piano', 'pig', 'pipa', 'saw', 'saxophone', 'sheep', 'sitar', 'sorna', 'squirrel', 'tabla',
    'tank', 'tiger', 'tractor', 'train', 'trombone', 'truck', 'trumpet', 'tuba', 'ukulele', 'utv', 'vacuum-cleaner',
    'violin', 'wolf', 'woman')


def supervised_frames(part: str) -> list[bool]:
    """Flags of the frames that training may use (published as ``gt_flag``): the first of v1s, all of v1m and v2."""
    return [i == 0 or part != 'v1s' for i in range(NUM_FRAMES[part])]


def _plain(name: str) -> str:
    """A class name without differences of spelling."""
    return re.sub('[-_ ]+', ' ', name).strip().casefold()


@DATASETS.register_module()
class AVSSDataset(ClipDataset):
    """AVSBench-semantic: 11356 clips (8498, 1304 and 1554) of three parts, 71 classes with the background.

    v1s (one sounding object, the clips of S4) and v1m (several, those of MS3) have 5 frames, v2 has 10. In training,
    v1s clips have labels in the first frame only; all other frames are labelled, in validation and test without
    exception. Frames have their original size. Labels are read from ``labels_semantic`` (a pixel's value is its class)
    if the clip has that directory, else from ``labels_rgb`` (PASCAL-VOC colors).

    Args:
        data_root: See :class:`ClipDataset`.
        split: See :class:`ClipDataset`.
        num_frames: Pad the clips to this number of frames, as AVSegFormer's and AVSBench's code do with 10. Padding
            frames are neither valid nor labelled. None: clips keep their 5 or 10 frames, as in VCT's code.
        **options: Other arguments of :class:`ClipDataset`. In ``data_prefix``, ``mask_prior`` turns on the loading of
            mask priors, from ``{mask_prior}/{part}/{uid}/frames`` or, if there is none, ``.../processed_frames_384``
            (of VCT's preparation, validation and test) or ``.../processed_frames`` (of COMBO's, 224x224).

    Source: Zhou et al., Audio-Visual Segmentation with Semantics, IJCV 2024; flags as in the released code of
    AVSBench, VCT and AVSegFormer (which uses the flags of training in validation too, but scores every frame).
    """

    METAINFO = dict(
        classes=CLASSES, palette=voc_palette(len(CLASSES)), events=CLASSES, clip_length=max(NUM_FRAMES.values()))
    SUBSET = 'avss'
    ANN_FILE = 'metadata.csv'

    def __init__(self, data_root: str, split: str, num_frames: int | None = None, **options: Any) -> None:
        self.num_frames = num_frames
        super().__init__(data_root, split, **options)

    def read_metadata(self) -> list[dict]:
        """Read the rows of ``metadata.csv``; unknown parts and other classes than in ``label2idx.json`` are errors."""
        rows = read_csv(self.ann_file, ('uid', 'split', 'label'))
        unknown = sorted({row['label'] for row in rows} - set(NUM_FRAMES))
        if unknown:
            raise ValueError(f"{self.ann_file}: found {', '.join(unknown)} in the column 'label', expected v1s, v1m or "
                             'v2')
        check_names(rows, ('uid', 'split'), self.ann_file)
        self._check_label_file(Path(self.data_root, 'label2idx.json'))
        return rows

    def _check_label_file(self, path: Path) -> None:
        """Compare the classes of the dataset with ``label2idx.json``, if there is that file: {name: index}."""
        if not path.is_file():
            return
        try:
            indices = read_json(path, 'the classes of the dataset')
        except ValueError as error:
            raise ValueError(f'{error}; write it again or remove it, it is only compared with the classes of the '
                             'dataset') from error
        if not isinstance(indices, dict) or sorted(map(str, indices.values())) != sorted(map(str, range(len(indices)))):
            raise ValueError(f'{path}: expected a JSON object that maps the names of the classes to the indices 0 '
                             '(background), 1, 2, ..., each once')
        classes = self._metainfo['classes']
        if len(indices) != len(classes):
            raise ValueError(f'{path}: {len(indices)} classes, the dataset was built for {len(classes)}; for a dataset '
                             'of other classes state them in the config: metainfo=dict(classes=[...])')
        for index, (found, expected) in enumerate(zip(sorted(indices, key=lambda name: int(indices[name])), classes)):
            if _plain(found) != _plain(expected):
                raise ValueError(f'{path}: class {index} is {found!r}, in the dataset it is {expected!r}; the masks '
                                 'would get wrong names: state the classes in the order of this file in the config: '
                                 'metainfo=dict(classes=[...])')

    def clip_id(self, row: dict) -> str:
        """See :class:`ClipDataset`."""
        return f"{row['label']}/{row['uid']}"

    def describe_clip(self, row: dict) -> dict:
        """Make the dict of one clip."""
        part, uid = row['label'], row['uid']
        directory = os.path.join(self.data_root, part, uid)
        num_frames = NUM_FRAMES[part]
        padding = [None] * max((self.num_frames or 0) - num_frames, 0)
        labels = 'labels_semantic'
        if not os.path.isdir(os.path.join(directory, labels)) and os.path.isdir(os.path.join(directory, 'labels_rgb')):
            labels = 'labels_rgb'
        labelled = supervised_frames(part) if self.split == 'train' else [True] * num_frames
        mask_prior_paths = None
        if 'mask_prior' in self.data_prefix:
            directories = [os.path.join(self.data_prefix['mask_prior'], part, uid, name) for name in PRIOR_DIRECTORIES]
            priors = os.path.join(next(filter(os.path.isdir, directories), directories[0]), '')
            mask_prior_paths = [f'{priors}{i}_mask_color.png' for i in range(num_frames)] + padding
        frames, masks = os.path.join(directory, 'frames', ''), os.path.join(directory, labels, '')
        return dict(
            clip_id=self.clip_id(row),
            subset=self.SUBSET,
            split=self.split,
            category=None,
            event_id=None,
            frame_paths=[f'{frames}{i}.jpg' for i in range(num_frames)] + padding,
            mask_paths=[f'{masks}{i}.png' if flag else None for i, flag in enumerate(labelled)] + padding,
            mask_prior_paths=mask_prior_paths,
            audio_path=os.path.join(directory, 'audio.wav'),
            log_mel_path=os.path.join(directory, 'audio.pkl'),
            valid=[True] * num_frames + [False] * len(padding),
            labelled=labelled + [False] * len(padding),
            mask_encoding='index' if labels == 'labels_semantic' else 'palette',
            num_classes=len(self._metainfo['classes']))

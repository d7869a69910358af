"""AVSBench-object: the single-source (S4) and the multi-source (MS3) subset, binary masks."""
import os
from typing import Any

from mmavs.registry import DATASETS

from .clip_dataset import ClipDataset
from .file_listing import check_names, read_csv

# The published CSV files name the clip in their first column, under one of these headers. It is none of the others.
NAME_COLUMNS = ('name', 'video_id', 'video_name', 'vid')
OTHER_COLUMNS = ('start', 'start_time', 'category', 'split')
# Side of the masks that the published numbers are scored with.
EVALUATION_SIZE = 224


def resized_directories(directory: str, size: int | str, split: str) -> dict[str, str]:
    """Directories of the frames, masks and mask priors of a split in the layout of resized AVSBench-semantic.

    Args:
        directory: 's4_data' or 'ms3_data'.
        size: Side of the frames and of the masks of training; those of evaluation have the published 224.
        split: 'train', 'val' or 'test'.
    """
    mask_size = size if split == 'train' else EVALUATION_SIZE
    return dict(
        frames=f'{directory}_{size}/visual_frames_{size}',
        masks=f'{directory}_{size}/gt_masks_{mask_size}',
        mask_prior=f'{directory}_{size}/pre_SAM_mask_{size}')


class AVSBenchObjectDataset(ClipDataset):
    """Base class of S4 and MS3: five frames per clip, binary masks (0 and 255 on disk) of sounding objects.

    Args:
        data_root: See :class:`ClipDataset`.
        split: See :class:`ClipDataset`.
        layout: 'object': the tree of the AVSBench-object download. '384' or another size: the tree that VCT's
            preparation derives from AVSBench-semantic, with frames and training masks of 384x384, and 224x224 masks for
            evaluation; ``tools/dataset_converters/avss_to_object.py`` makes it.
        data_prefix: Replaces directories of the layout: ``frames``, ``masks``, ``audio``, ``log_mel``. ``mask_prior``
            turns on the loading of mask priors.
        **options: Other arguments of :class:`ClipDataset`.
    """

    NUM_FRAMES = 5
    METAINFO = dict(
        classes=('background', 'sounding object'), palette=[[0, 0, 0], [255, 255, 255]], events=(),
        clip_length=NUM_FRAMES)
    DIRECTORY: str

    def __init__(self,
                 data_root: str,
                 split: str,
                 layout: str = 'object',
                 data_prefix: dict | None = None,
                 **options: Any) -> None:
        if layout != 'object' and not layout.isdecimal():
            raise ValueError(f"layout is {layout!r}, expected 'object', or a size such as '384'")
        self.layout = layout
        directories = dict(audio=f'{self.DIRECTORY}/audio_wav', log_mel=f'{self.DIRECTORY}/audio_log_mel')
        if layout == 'object':
            directories.update(frames=f'{self.DIRECTORY}/visual_frames', masks=f'{self.DIRECTORY}/gt_masks')
        else:
            resized = resized_directories(self.DIRECTORY, layout, split)
            directories.update(frames=resized['frames'], masks=resized['masks'])
        super().__init__(data_root, split, data_prefix={**directories, **(data_prefix or {})}, **options)

    def check_flags(self) -> list[str]:
        """See :class:`ClipDataset`."""
        return ['--layout', self.layout, *super().check_flags()]

    def advice(self) -> str:
        """See :class:`ClipDataset`."""
        if self.layout == 'object' or os.path.isdir(self.data_prefix['frames']):
            return ''
        return (f'Frames of {self.layout} pixels are made of AVSBench-semantic by tools/dataset_converters/'
                "avss_to_object.py; layout='object' of the dataset reads those of AVSBench-object. ")

    def _describe(self, name: str, frames: str, in_split: str, labelled: list[bool]) -> dict:
        """Make the clip dict without its id, category and event.

        Args:
            name: Name of the clip.
            frames: Path of a frame relative to the directory of frames, without ``_{i}.png``.
            in_split: Path of the clip relative to the directories that are sorted by split.
            labelled: Flags of the frames.
        """
        directories = self.data_prefix
        numbers = range(1, self.NUM_FRAMES + 1)
        mask_prior_paths = None
        if 'mask_prior' in directories:
            # COMBO's are named by the frames, which are called CLIP.mp4_1.png on MS3.
            stems = os.path.join(directories['mask_prior'], frames), os.path.join(
                directories['mask_prior'], os.path.dirname(frames), name)
            prefix = stems[0] if os.path.isfile(f'{stems[0]}_1_mask_color.png') else stems[1]
            mask_prior_paths = [f'{prefix}_{i}_mask_color.png' for i in numbers]
        masks = os.path.join(directories['masks'], in_split, name)
        return dict(
            subset=self.SUBSET,
            split=self.split,
            frame_paths=[os.path.join(directories['frames'], f'{frames}_{i}.png') for i in numbers],
            mask_paths=[f'{masks}_{i}.png' if flag else None for i, flag in zip(numbers, labelled)],
            mask_prior_paths=mask_prior_paths,
            audio_path=os.path.join(directories['audio'], f'{in_split}.wav'),
            log_mel_path=os.path.join(directories['log_mel'], f'{in_split}.pkl'),
            valid=[True] * self.NUM_FRAMES,
            labelled=labelled,
            mask_encoding='binary',
            num_classes=2)

    def _read_named_clips(self, *columns: str) -> list[dict]:
        """Read the rows of the CSV file, with the name of the clip under ``name``."""
        rows = read_csv(self.ann_file, columns)
        if not rows:
            return []
        header = list(rows[0])
        name = next((column for column in header if column in NAME_COLUMNS), header[0])
        if name in OTHER_COLUMNS:
            raise ValueError(f"{self.ann_file}: no column 'name' (the clip, first column), found {', '.join(header)}; "
                             'add it')
        nameless = sum(not row[name] for row in rows)
        if nameless:
            raise ValueError(f'{self.ann_file}: {nameless} row(s) have no value in the column {name!r}, the clip')
        check_names(rows, (name, *columns), self.ann_file)
        return [{**row, 'name': row[name]} for row in rows]


@DATASETS.register_module()
class AVSBenchS4Dataset(AVSBenchObjectDataset):
    """AVSBench-object, single source (S4): 4932 clips of one sounding category each.

    In training only the first frame of a clip is labelled, in validation and test all five are. ``event_id`` is the
    index of the clip's category in ``metainfo['events']``, which has the published order of VCT's prototypes.

    Source: Zhou et al., Audio-Visual Segmentation, ECCV 2022; layout '384' and events as in the released code of VCT.
    """

    METAINFO = dict(
        AVSBenchObjectDataset.METAINFO,
        events=('helicopter', 'mynah_bird_singing', 'typing_on_computer_keyboard', 'playing_violin',
                'playing_glockenspiel', 'playing_piano', 'lions_roaring', 'baby_laughter', 'male_speech', 'lawn_mowing',
                'playing_ukulele', 'playing_tabla', 'driving_buses', 'cap_gun_shooting', 'chainsawing_trees',
                'playing_acoustic_guitar', 'cat_meowing', 'female_singing', 'ambulance_siren', 'dog_barking',
                'horse_clip-clop', 'coyote_howling', 'race_car'))
    SUBSET = 's4'
    ANN_FILE = 's4_meta_data.csv'
    DIRECTORY = 's4_data'

    def read_metadata(self) -> list[dict]:
        """Read the rows of ``s4_meta_data.csv``; a category that is not among the events is an error."""
        rows = self._read_named_clips('category', 'split')
        unknown = sorted({row['category'] for row in rows} - set(self._metainfo['events']))
        if unknown:
            raise ValueError(f"{self.ann_file}: categories {', '.join(unknown)} are not among the "
                             f"{len(self._metainfo['events'])} events of the dataset; for a dataset of other "
                             'categories state them in the config: metainfo=dict(events=[...])')
        return rows

    def describe_clip(self, row: dict) -> dict:
        """Make the dict of one clip."""
        name, category = row['name'], row['category']
        labelled = [True] + [self.split != 'train'] * (self.NUM_FRAMES - 1)
        in_split = f'{self.split}/{category}/{name}'
        clip = self._describe(name, f'{in_split}/{name}', in_split, labelled)
        clip.update(
            clip_id=f'{category}/{name}', category=category, event_id=self._metainfo['events'].index(category))
        return clip


@DATASETS.register_module()
class AVSBenchMS3Dataset(AVSBenchObjectDataset):
    """AVSBench-object, multiple sources (MS3): 424 clips with several sounding objects, all five frames labelled.

    Source: Zhou et al., Audio-Visual Segmentation, ECCV 2022; layout '384' as in the released code of VCT.
    """

    SUBSET = 'ms3'
    ANN_FILE = 'ms3_meta_data.csv'
    DIRECTORY = 'ms3_data'

    def read_metadata(self) -> list[dict]:
        """Read the rows of ``ms3_meta_data.csv``."""
        return self._read_named_clips('split')

    def describe_clip(self, row: dict) -> dict:
        """Make the dict of one clip."""
        name = row['name']
        stem = f'{name}.mp4' if self.layout == 'object' else name
        clip = self._describe(name, f'{name}/{stem}', f'{self.split}/{name}', [True] * self.NUM_FRAMES)
        clip.update(clip_id=name, category=None, event_id=None)
        return clip

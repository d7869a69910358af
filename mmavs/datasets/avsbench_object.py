"""AVSBench-object: the single-source (S4) and the multi-source (MS3) subset, binary masks."""
import os
from collections.abc import Callable, Sequence

from mmavs.registry import DATASETS

from .clip_dataset import ClipDataset
from .file_listing import read_csv

# The columns of the published CSV files that are not the name of the clip, which is the first column under any header.
NAME_COLUMNS = ('name', 'video_id', 'video_name', 'vid')
OTHER_COLUMNS = ('start', 'start_time', 'category', 'split')


class AVSBenchObjectDataset(ClipDataset):
    """Five frames a clip, binary masks (0 and 255 on disk) of what sounds.

    Args:
        layout: 'object': the tree of the AVSBench-object download. '384': the tree that VCT's preparation derives
            from AVSBench-semantic, with frames and training masks of 384x384, and 224x224 masks for evaluation.
        data_root: See :class:`ClipDataset`, like the other arguments.

    The folders of both layouts can be replaced through ``data_prefix``: ``frames``, ``masks``, ``audio``, ``log_mel``;
    ``mask_prior`` turns the loading of mask priors on.
    """

    METAINFO = dict(classes=('background', 'sounding object'), palette=[[0, 0, 0], [255, 255, 255]], events=())
    NUM_FRAMES = 5
    FOLDER: str

    def __init__(self,
                 data_root: str,
                 split: str,
                 layout: str = 'object',
                 data_prefix: dict | None = None,
                 metainfo: dict | None = None,
                 pipeline: Sequence[dict | Callable] = (),
                 indices: int | Sequence[int] | None = None,
                 test_mode: bool = False,
                 lazy_init: bool = False) -> None:
        if layout not in ('object', '384'):
            raise ValueError(f"layout is {layout!r}, expected 'object' or '384'")
        self.layout = layout
        folders = dict(audio=f'{self.FOLDER}/audio_wav', log_mel=f'{self.FOLDER}/audio_log_mel')
        if layout == 'object':
            folders.update(frames=f'{self.FOLDER}/visual_frames', masks=f'{self.FOLDER}/gt_masks')
        else:
            size = 384 if split == 'train' else 224
            folders.update(
                frames=f'{self.FOLDER}_384/visual_frames_384', masks=f'{self.FOLDER}_384/gt_masks_{size}')
        super().__init__(
            data_root=data_root,
            split=split,
            data_prefix={**folders, **(data_prefix or {})},
            metainfo=metainfo,
            pipeline=pipeline,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init)

    def check_flags(self) -> list[str]:
        """See :class:`ClipDataset`."""
        return ['--layout', self.layout, *super().check_flags()]

    def _describe(self, name: str, frames: str, in_split: str, labelled: list[bool]) -> dict:
        """The clip dict but for its id and category.

        Args:
            name: Name of the clip.
            frames: Path of a frame below the folder of frames, but for ``{i}.png``.
            in_split: Path of the clip below the folders that are sorted by split.
            labelled: Flags of the frames.
        """
        folders = self.data_prefix
        numbers = range(1, self.NUM_FRAMES + 1)
        mask_prior_paths = None
        if 'mask_prior' in folders:
            prefix = os.path.join(folders['mask_prior'], os.path.dirname(frames), name)
            mask_prior_paths = [f'{prefix}_{i}_mask_color.png' for i in numbers]
        masks = os.path.join(folders['masks'], in_split, name)
        return dict(
            subset=self.SUBSET,
            split=self.split,
            frame_paths=[os.path.join(folders['frames'], f'{frames}_{i}.png') for i in numbers],
            mask_paths=[f'{masks}_{i}.png' if flag else None for i, flag in zip(numbers, labelled)],
            mask_prior_paths=mask_prior_paths,
            audio_path=os.path.join(folders['audio'], f'{in_split}.wav'),
            log_mel_path=os.path.join(folders['log_mel'], f'{in_split}.pkl'),
            valid=[True] * self.NUM_FRAMES,
            labelled=labelled,
            mask_encoding='binary',
            num_classes=2)

    def _read_named_clips(self, *columns: str) -> list[dict]:
        """Rows of the CSV file with the name of the clip under ``name``."""
        rows = read_csv(self.ann_file, columns)
        if not rows:
            return []
        header = list(rows[0])
        name = next((column for column in header if column in NAME_COLUMNS), header[0])
        if name in OTHER_COLUMNS:
            raise ValueError(f"{self.ann_file}: no column 'name' (the clip, first column), found {', '.join(header)}; "
                             'add it')
        return [{**row, 'name': row[name]} for row in rows]


@DATASETS.register_module()
class AVSBenchS4Dataset(AVSBenchObjectDataset):
    """AVSBench-object, single source (S4): 4932 clips of one sounding category each.

    In training only the first frame of a clip is labelled, in validation and test all five are. ``event_id`` is the
    index of the clip's category among ``metainfo['events']``, whose published order is that of VCT's prototypes.

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
    FOLDER = 's4_data'

    def read_metadata(self) -> list[dict]:
        """The rows of ``s4_meta_data.csv``; a category that is not among the events is an error."""
        rows = self._read_named_clips('category', 'split')
        unknown = sorted({row['category'] for row in rows} - set(self._metainfo['events']))
        if unknown:
            raise ValueError(f"{self.ann_file}: categories {', '.join(unknown)} are not among the "
                             f"{len(self._metainfo['events'])} events of the data set; for a set of other categories "
                             'state them in the config: metainfo=dict(events=[...])')
        return rows

    def describe_clip(self, row: dict) -> dict:
        """The dict of one clip."""
        name, category = row['name'], row['category']
        labelled = [True] + [self.split != 'train'] * (self.NUM_FRAMES - 1)
        in_split = f'{self.split}/{category}/{name}'
        clip = self._describe(name, f'{in_split}/{name}', in_split, labelled)
        clip.update(
            clip_id=f'{category}/{name}', category=category, event_id=self._metainfo['events'].index(category))
        return clip


@DATASETS.register_module()
class AVSBenchMS3Dataset(AVSBenchObjectDataset):
    """AVSBench-object, multiple sources (MS3): 424 clips in which several objects sound, all five frames labelled.

    Source: Zhou et al., Audio-Visual Segmentation, ECCV 2022; layout '384' as in the released code of VCT.
    """

    SUBSET = 'ms3'
    ANN_FILE = 'ms3_meta_data.csv'
    FOLDER = 'ms3_data'

    def read_metadata(self) -> list[dict]:
        """The rows of ``ms3_meta_data.csv``."""
        return self._read_named_clips('split')

    def describe_clip(self, row: dict) -> dict:
        """The dict of one clip."""
        name = row['name']
        stem = f'{name}.mp4' if self.layout == 'object' else name
        clip = self._describe(name, f'{name}/{stem}', f'{self.split}/{name}', [True] * self.NUM_FRAMES)
        clip.update(clip_id=name, category=None, event_id=None)
        return clip

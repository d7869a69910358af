"""Dataset wrapper that trains with negative audio, whose target is an empty mask."""
from collections.abc import Sequence

import numpy as np
import torch

from mmavs.datasets.clip_dataset import ClipDataset, all_transforms
from mmavs.datasets.transforms.formatting import GenerateEventLabels
from mmavs.registry import DATASETS
from mmavs.structures import UNLABELLED
from mmavs.utils.errors import worker_errors
from mmavs.utils.randomness import derive_seed

from .audio_conditions import AudioCondition, AudioReplacer
from .clip_wrapper import ClipWrapper

# Added to the seed: the pipeline has the same seed, and its random draws must differ from those of this wrapper.
STREAM = 1


@DATASETS.register_module()
class NegativeAudio(ClipWrapper):
    """Give a random part of the clips negative audio and the matching ground truth: no object is sounding.

    A clip is negative with the probability ``share``, and then of each kind with the same probability. Its labelled
    frames become background, except unlabelled pixels. Its audio events, if it has any, become those of such frames:
    none, or the background if :class:`GenerateEventLabels` takes them from masks. Frames are augmented as before.

    With :class:`SeededInfiniteSampler` the draws depend on the run's seed and the position of the clip in the order of
    the run, hence a resumed run repeats them. Otherwise they come from NumPy's global generator, which MMEngine seeds
    in each worker.

    Args:
        dataset: Config of a clip dataset whose pipeline loads waveforms and packs, or the dataset.
        share: Probability of negative audio, in [0, 1].
        kinds: Audio conditions, see :class:`ReplaceAudio`. 'mixture' is refused, because it contains the original
            audio. A clip without a candidate for 'off-screen' gets silence.
        absent_audio: See :class:`ReplaceAudio`.
        lazy_init: Leave the listing to ``full_init``.
        absent_sounds: Former name of ``absent_audio``.

    Raises:
        ValueError: An argument is invalid, or the sounding classes of clips are unknown and 'off-screen' is among the
            kinds: the audio of a random clip may match a visible object, and the ground truth would be wrong.

    Source: AVSBench-Robust, which has no noise and repeats positives instead of drawing.
    """

    def __init__(self,
                 dataset: dict | ClipDataset,
                 share: float = 0.1,
                 kinds: Sequence[str] = ('silence', 'noise', 'off-screen'),
                 absent_audio: str | None = None,
                 lazy_init: bool = False,
                 absent_sounds: str | None = None) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f'share is {share}, expected the probability of negative audio, in [0, 1]')
        self.share = share
        self.conditions = [AudioCondition.parse(kind) for kind in kinds]
        if not kinds or not all(condition.is_negative for condition in self.conditions):
            raise ValueError(f"kinds are {list(kinds)}, expected at least one of 'silence', 'noise', 'noise:-20', "
                             "'off-screen' and 'absent-class'; a mixture contains the original audio")
        self.absent_audio = absent_audio or absent_sounds
        super().__init__(dataset, lazy_init)

    def prepare(self, clips: list[dict]) -> None:
        """Find the events of silence and, for audio of other clips, the sounding classes of the clips."""
        self._replacer = AudioReplacer(self.dataset, self.conditions, self.absent_audio)
        steps = all_transforms(self.dataset.pipeline.transforms)
        self._silent_events = next((step.silent for step in steps if isinstance(step, GenerateEventLabels)),
                                   torch.zeros_like)
        if any(condition.needs_other_clip for condition in self.conditions):
            unknown = [clip['clip_id'] for i, clip in enumerate(clips) if not self._replacer.knows_classes(i)]
            if unknown:
                raise ValueError(
                    f'{self.dataset.ann_file}: the sounding classes of {len(unknown)} of {len(clips)} clips '
                    f"({unknown[0]}, ...) are unknown, but 'off-screen' needs them to choose audio of other classes: "
                    "add a column a_obj (class names joined by '_', as in the metadata of AVSS), or leave 'off-screen' "
                    'out of the kinds of NegativeAudio')

    @worker_errors
    def __getitem__(self, idx: int) -> dict:
        self.full_init()
        packed = self.dataset[idx]
        seed = getattr(idx, 'seed', None)
        rng = np.random if seed is None else np.random.RandomState(derive_seed(seed, STREAM))
        if rng.random_sample() >= self.share:
            return packed
        condition = self.conditions[rng.randint(len(self.conditions))]
        source = self._replacer.draw_source(condition, int(idx), rng)
        if source is None and condition.needs_source:
            condition = AudioCondition('silence')
        inputs = self._replacer.replace(packed['inputs'], condition, int(idx), source, rng)
        sample = packed['data_samples'].clone()
        if 'gt_sem_seg' in sample:
            masks = sample.gt_sem_seg
            sample.gt_sem_seg = masks.masked_fill(masks != UNLABELLED, 0)
        if 'gt_events' in sample:
            sample.gt_events = self._silent_events(sample.gt_events)
        return dict(packed, inputs=inputs, data_samples=sample)

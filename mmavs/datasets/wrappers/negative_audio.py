"""Training with wrong sounds, for which nothing is to be marked."""
from collections.abc import Sequence

import numpy as np
import torch

from mmavs.datasets.clip_dataset import ClipDataset, all_transforms
from mmavs.datasets.transforms.formatting import GenerateEventLabels
from mmavs.datasets.transforms.loading import UNLABELLED
from mmavs.registry import DATASETS
from mmavs.utils.errors import worker_errors
from mmavs.utils.randomness import derive_seed

from .audio_replacement import AudioCondition, AudioReplacer
from .clip_wrapper import ClipWrapper

# Sets the draws of this wrapper apart from those of the pipeline, which have the same seed.
STREAM = 1


@DATASETS.register_module()
class NegativeAudio(ClipWrapper):
    """Give some of the clips that are drawn a wrong sound and the ground truth that goes with it: nothing sounds.

    A clip is negative with the probability ``share``, and then of each kind with the same probability. Its labelled
    frames become background (pixels that are unlabelled stay so) and its audio events, if it has any, those of such
    frames: none, or the background where :class:`GenerateEventLabels` takes them from masks. Its frames are augmented
    as ever.

    With :class:`SeededInfiniteSampler` the draws depend on the run's seed and the position of the clip in the order of
    the run, so that a resumed run repeats them; else they come from NumPy's global generator, which MMEngine seeds in
    each worker.

    Args:
        dataset: Config of a data set of clips whose pipeline loads waveforms and packs, or the data set.
        share: Probability of a negative, in [0, 1].
        kinds: Kinds of sound, see :class:`ReplaceAudio`; not 'mixture', in which the clip's own sound is heard. A clip
            for which no 'off-screen' sound exists gets silence.
        absent_sounds: See :class:`ReplaceAudio`.
        lazy_init: Leave the listing to ``full_init``.

    Raises:
        ValueError: An argument is wrong, or for 'off-screen' it is not known what is heard in the clips: the sound of a
            clip at random may belong to the picture, and the ground truth would be wrong.

    Source: AVSBench-Robust, which has no noise and repeats positives instead of drawing.
    """

    def __init__(self,
                 dataset: dict | ClipDataset,
                 share: float = 0.1,
                 kinds: Sequence[str] = ('silence', 'noise', 'off-screen'),
                 absent_sounds: str | None = None,
                 lazy_init: bool = False) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f'share is {share}, expected the share of negatives in [0, 1]')
        self.share = share
        self.kinds = [AudioCondition.parse(kind) for kind in kinds]
        mixtures = [kind for kind, parsed in zip(kinds, self.kinds) if not parsed.is_negative]
        if mixtures or not kinds:
            raise ValueError(f"kinds are {list(kinds)}, expected at least one of 'silence', 'noise', 'noise:-20', "
                             "'off-screen' and 'absent-class': of a mixture the clip's own sound is a part")
        self.absent_sounds = absent_sounds
        super().__init__(dataset, lazy_init)

    def choose(self, clips: list[dict]) -> None:
        """Look up the events of silence and, if sounds of others are wanted, what is heard in the clips."""
        self._sounds = AudioReplacer(self.dataset, self.kinds, self.absent_sounds)
        steps = all_transforms(self.dataset.pipeline.transforms)
        self._silent_events = next((step.silent for step in steps if isinstance(step, GenerateEventLabels)),
                                   torch.zeros_like)
        if any(kind.needs_other_clip for kind in self.kinds):
            unknown = [clip['clip_id'] for i, clip in enumerate(clips) if not self._sounds.knows_labels(i)]
            if unknown:
                raise ValueError(
                    f"{self.dataset.ann_file}: it is not known what is heard in {len(unknown)} of {len(clips)} clips "
                    f'({unknown[0]}, ...), so that no sound can be chosen that does not belong to them: add a column '
                    "a_obj (class names joined by '_', as the metadata of AVSS have it), or leave 'off-screen' out of "
                    'the kinds of NegativeAudio')

    @worker_errors
    def __getitem__(self, idx: int) -> dict:
        self.full_init()
        packed = self.dataset[idx]
        seed = getattr(idx, 'seed', None)
        rng = np.random if seed is None else np.random.RandomState(derive_seed(seed, STREAM))
        if rng.random_sample() >= self.share:
            return packed
        kind, source = self.kinds[rng.randint(len(self.kinds))], None
        if kind.needs_other_clip or kind.name == 'absent-class':
            sources = self._sounds.sources(kind, int(idx))
            if sources:
                source = sources[rng.randint(len(sources))]
            else:
                kind = AudioCondition('silence')
        inputs = self._sounds.replace(packed['inputs'], kind, int(idx), source, rng)
        sample = packed['data_samples'].clone()
        if 'gt_sem_seg' in sample:
            masks = sample.gt_sem_seg
            sample.gt_sem_seg = masks.masked_fill(masks != UNLABELLED, 0)
        if 'gt_events' in sample:
            sample.gt_events = self._silent_events(sample.gt_events)
        return dict(packed, inputs=inputs, data_samples=sample)

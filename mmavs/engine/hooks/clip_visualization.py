"""Hook that draws the predictions of validations and tests."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from torch.utils.data import Dataset

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.registry import HOOKS
from mmavs.structures import AVSDataSample
from mmavs.utils.image_files import write_image


# The second name is the former one, which older configs state.
@HOOKS.register_module(['ClipVisualizationHook', 'DrawClipsHook'])
class ClipVisualizationHook(Hook):
    """Draw contact sheets (frames, ground truth, prediction, spectrogram) of tested and validated clips.

    Each sheet appears under its name when it is complete.

    Args:
        out_dir: Directory of the sheets of a test, ``{clip_id}.png`` for every clip; None draws none.
        val_clips: Clips to draw at each validation: the number of the first ones, or clip ids. Their sheets go to the
            backends of the visualizer (files, TensorBoard, Weights & Biases), named ``val_{clip_id}``, with the step
            of the validation's scores.
    """

    def __init__(self, out_dir: str | None = None, val_clips: int | Sequence[str] = 0) -> None:
        if isinstance(val_clips, str) or isinstance(val_clips, int) and val_clips < 0:
            raise ValueError(f'ClipVisualizationHook: val_clips is {val_clips!r}, expected a number of clips or a list '
                             'of clip ids')
        if out_dir is None and not val_clips:
            raise ValueError('ClipVisualizationHook draws nothing: set out_dir (tests) or val_clips (validations)')
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.val_clips = val_clips
        self._chosen: list[str] = []
        self._sheets: dict[str, np.ndarray] = {}

    def before_train(self, runner) -> None:
        """Find the clips to draw: an unknown id is an error before the first step."""
        if self.val_clips and runner.val_loop is not None:
            self._chosen = _choose(runner.val_loop.dataloader.dataset, self.val_clips)

    def before_val_epoch(self, runner) -> None:
        """Find the clips to draw in a validation outside of a training."""
        if not self._chosen:
            self.before_train(runner)

    def after_val_iter(self,
                       runner,
                       batch_idx: int,
                       data_batch: dict,
                       outputs: Sequence[AVSDataSample] | None = None) -> None:
        """Draw the chosen clips of a batch."""
        for i, sample in enumerate(outputs or ()):
            if sample.clip_id in self._chosen:
                self._sheets[sample.clip_id] = _draw(runner, data_batch['inputs'], i, sample)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Record the sheets, also those of the other processes."""
        sheets = {clip_id: sheet for part in all_gather_object(self._sheets) for clip_id, sheet in part.items()}
        self._sheets = {}
        if not is_main_process():
            return
        # A validation outside of a training has no step.
        training = not isinstance(runner._train_loop, dict) and runner._train_loop is not None
        by_epoch = runner.log_processor.by_epoch
        step = (runner.epoch if by_epoch else runner.iter) if training else 0
        for clip_id in self._chosen:
            if clip_id in sheets:
                runner.visualizer.add_image(f"val_{clip_id.replace('/', '_')}", sheets[clip_id], step)

    def after_test_iter(self,
                        runner,
                        batch_idx: int,
                        data_batch: dict,
                        outputs: Sequence[AVSDataSample] | None = None) -> None:
        """Write the sheets of the clips of a batch, in each process its own."""
        if self.out_dir is None:
            return
        for i, sample in enumerate(outputs or ()):
            sheet = _draw(runner, data_batch['inputs'], i, sample)
            write_image(self.out_dir / f'{sample.clip_id}.png', sheet)


def _draw(runner, inputs: dict, index: int, sample: AVSDataSample) -> np.ndarray:
    return runner.visualizer.draw_contact_sheet(
        sample.clip_id,
        inputs['frames'][index].permute(0, 2, 3, 1).cpu().numpy(),
        sample.cpu(),
        rate=SAMPLE_RATE,
        **{key: inputs[key][index] for key in ('waveform', 'log_mel') if key in inputs})


def _choose(dataset: Dataset, val_clips: int | Sequence[str]) -> list[str]:
    """Ids of the chosen clips of a dataset; an unknown id is an error."""
    if isinstance(val_clips, int):
        return [dataset.get_data_info(i)['clip_id'] for i in range(min(val_clips, len(dataset)))]
    known = {dataset.get_data_info(i)['clip_id'] for i in range(len(dataset))}
    for clip_id in val_clips:
        if clip_id not in known:
            raise ValueError(f'ClipVisualizationHook: val_clips names {clip_id!r}, but none of the {len(known)} '
                             f'validation clips has this id; the first is {min(known)!r}')
    return list(val_clips)

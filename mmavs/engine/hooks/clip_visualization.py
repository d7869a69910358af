"""Hook that renders the predictions of a test."""
from collections.abc import Sequence
from pathlib import Path

from mmcv.image import imwrite
from mmengine.hooks import Hook

from mmavs.registry import HOOKS
from mmavs.structures import AVSDataSample


# The second name is the former one, which older configs state.
@HOOKS.register_module(['ClipVisualizationHook', 'DrawClipsHook'])
class ClipVisualizationHook(Hook):
    """Write a contact sheet (frames, ground truth, prediction, spectrogram) of every tested clip.

    Args:
        out_dir: Directory of the sheets, ``{clip_id}.png``.
    """

    def __init__(self, out_dir: str) -> None:
        self.out_dir = Path(out_dir)

    def after_test_iter(self,
                        runner,
                        batch_idx: int,
                        data_batch: dict,
                        outputs: Sequence[AVSDataSample] | None = None) -> None:
        """Render the clips of a batch, in each process its own."""
        inputs = data_batch['inputs']
        for i, sample in enumerate(outputs or ()):
            sheet = runner.visualizer.draw_contact_sheet(
                sample.clip_id,
                inputs['frames'][i].permute(0, 2, 3, 1).cpu().numpy(),
                sample.cpu(),
                **{key: inputs[key][i] for key in ('waveform', 'log_mel') if key in inputs})
            imwrite(sheet[..., ::-1], str(self.out_dir / f'{sample.clip_id}.png'))

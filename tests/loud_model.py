"""A model that segments the left half of a frame if the audio at its place is loud, for tests of the server.

A config names this module in ``custom_imports``. Wide frames take long: their job can be cancelled.
"""
import time
from types import SimpleNamespace

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel

from mmavs.registry import MODELS

SECONDS_PER_WIDE_FRAME, WIDE = 0.3, 100
# The class of the mask.
LABEL = 1
CONFIG = """
_base_ = '{base}'
custom_imports = dict(imports=['loud_model'], allow_failed_imports=False)
model = dict(_delete_=True, type='LoudModel')
test_dataloader = dict(dataset=dict(pipeline=[dict(type='PackClipInputs')]))
"""


class _ListPreprocessor(BaseDataPreprocessor):
    """Leaves clips as they are."""

    def forward(self, data, training=False):
        return dict(inputs={key: [clip[key] for clip in data['inputs']] for key in data['inputs'][0]},
                    data_samples=data['data_samples'])


@MODELS.register_module()
class LoudModel(BaseModel):
    """Model that compares the audio of a frame with a threshold; its weights are one number that is not used."""

    independent_frames = False

    def __init__(self):
        super().__init__(_ListPreprocessor())
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.audio_backbone = SimpleNamespace(stereo=False, examples_per_frame=1)

    def forward(self, inputs, data_samples, mode, outputs, prob_dtype):
        for sample, frames, waveform in zip(data_samples, inputs['frames'], inputs['waveform']):
            time.sleep(SECONDS_PER_WIDE_FRAME * len(frames) * (frames.shape[-1] >= WIDE))
            loud = waveform.reshape(len(frames), -1).abs().amax(1) > 0.05
            masks = torch.zeros(len(frames), *frames.shape[-2:], dtype=torch.uint8)
            masks[loud, :, :frames.shape[-1] // 2] = LABEL
            sample.pred_sem_seg, sample.foreground_prob = masks, masks.to(prob_dtype)
        return data_samples

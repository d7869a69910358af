"""A model that says what it gets, for the videos of video_files.py.

It predicts the second that a frame was taken in (left half of the mask) and the amplitude of the audio at the frame's
place (right half). The videos say what is right: in second s, frames are of the gray value 40 s, and the audio has the
amplitude (s % 6 + 1) / 10.
"""
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from video_files import RATE

CLASSES = ('background', *(f'class {k}' for k in range(1, 8)))


class TimeProbe(BaseModel):
    """Model that reads the second of each frame, and the amplitude at 15/16 of its second of audio."""

    def __init__(self, clip_length=5, independent_frames=False):
        super().__init__()
        self.cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=[dict(type='PackClipInputs')]))))
        self.dataset_meta = dict(clip_length=clip_length, classes=CLASSES)
        self.independent_frames = independent_frames
        self.audio_backbone = SimpleNamespace(stereo=False, examples_per_frame=1)
        self.lengths = []

    def forward(self, inputs, data_samples, mode, outputs, prob_dtype):
        for sample, frames, waveform in zip(data_samples, inputs['frames'], inputs['waveform']):
            self.lengths.append(len(frames))
            height, width = frames.shape[-2:]
            masks = torch.zeros(len(frames), height, width, dtype=torch.uint8)
            for t, frame in enumerate(frames):
                gray = frame[:, height // 2:, width // 2:].float().mean()
                place = waveform[int((t + 0.9) * RATE):int((t + 15 / 16) * RATE)]
                masks[t, :, :width // 2] = int((gray / 40).round())
                masks[t, :, width // 2:] = int((10 * 2**0.5 * place.square().mean().sqrt()).round())
            sample.pred_sem_seg = masks
            sample.foreground_prob = masks.to(prob_dtype) / 10
        return data_samples


def time_probe():
    """The model, ready for AVSInferencer."""
    model = TimeProbe()
    model.data_preprocessor = torch.nn.Module()
    model.data_preprocessor.forward = lambda data: dict(
        inputs={key: [clip[key] for clip in data['inputs']] for key in data['inputs'][0]},
        data_samples=data['data_samples'])
    return model

"""Log-mel examples of the VGGish front-end."""
import numpy as np
import torch

from mmavs.audio.resampling import resample
from mmavs.models import VGGish

from . import DEVICE

KEYS = {'audio', 'seed'}


def check(directory, case, seeded):
    model = VGGish(output='conv', channels=(1, ) * 6).to(DEVICE)
    for seconds, rate, channels in case['audio']:
        samples = seeded.waveform(case['seed'], seconds, rate, channels).astype(np.float32) / 32768
        waveform = resample(samples.mean(1), rate, 16000)
        examples = model.log_mel_examples(torch.from_numpy(waveform)[None].to(DEVICE))[0, :, 0].cpu().numpy()
        expected = seeded.expected(directory.name, directory.parent)[f'{seconds}s_{rate}_{channels}ch']
        if len(examples) > 5:
            examples = examples[::2]
        assert examples.shape == expected.shape, (seconds, rate, channels)
        error = np.abs(examples - expected)
        assert np.isfinite(error).all()
        print(f'{seconds} s, {rate} Hz, {channels} channel(s): max error {error.max():.2g}, mean {error.mean():.2g}')
        if rate == 16000:
            assert error.max() <= 1e-4
        else:
            assert error.max() <= 2e-2 and error.mean() <= 1e-3

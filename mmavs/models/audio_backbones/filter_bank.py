"""Kaldi's log-mel filter bank, the input of audio transformers."""
import logging

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmavs.audio.log_mel import HOP, SAMPLE_RATE, WINDOW
from mmavs.audio.spectrum import power_spectrum, sliding_windows
from mmavs.utils.precision import disable_autocast

FFT_SIZE = 512
NUM_MELS = 128
MIN_FREQUENCY = 20.0
PREEMPHASIS = 0.97
WINDOWS = {'povey': 0.85, 'hanning': 1.0}


class KaldiFilterBank(nn.Module):
    """Log energies of 128 mel bands, equal to ``torchaudio.compliance.kaldi.fbank`` without dither, but batched.

    Complete windows of 25 ms every 10 ms; mean removed, pre-emphasis 0.97, power of a 512-point FFT, triangles between
    20 Hz and 8 kHz, logarithm clamped at float32's epsilon. Always computed in float32, because half precision is too
    coarse for the logarithm of quiet bands.

    Args:
        window: Shape of the windows, ``'povey'`` or ``'hanning'``.
    """

    def __init__(self, window: str) -> None:
        super().__init__()
        self.register_buffer('window', torch.hann_window(WINDOW, periodic=False)**WINDOWS[window], persistent=False)
        # The bin of the Nyquist frequency, which torchaudio omits, is in no band.
        filters = nn.functional.pad(_mel_filters(), (0, 1)).T.contiguous()
        self.register_buffer('mel_filters', filters, persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, rows, 128) from waveforms (B, L) at 16 kHz; rows = 1 + (L - 400) // 160."""
        with disable_autocast(waveform):
            windows = sliding_windows(waveform.float(), WINDOW, HOP)
            windows = windows - windows.mean(2, keepdim=True)
            previous = torch.cat((windows[..., :1], windows[..., :-1]), 2)
            power = power_spectrum((windows - PREEMPHASIS * previous) * self.window, FFT_SIZE)
            return (power @ self.mel_filters).clamp(min=torch.finfo(torch.float32).eps).log()


def _mel_filters() -> Tensor:
    """Kaldi's triangular filters (128, 256), of torchaudio where it can be imported."""
    try:
        # A torchaudio of another release or another CUDA than torch raises OSError.
        from torchaudio.compliance.kaldi import get_mel_banks
    except (ImportError, OSError) as error:
        print_log(
            f'torchaudio cannot be imported ({error}): the mel filters, which are the same, are computed without it',
            logger='current',
            level=logging.WARNING)
        return kaldi_mel_filters()
    return get_mel_banks(NUM_MELS, FFT_SIZE, SAMPLE_RATE, MIN_FREQUENCY, SAMPLE_RATE / 2, 100.0, -500.0, 1.0)[0]


def kaldi_mel_filters() -> Tensor:
    """Kaldi's filters (128, 256) without torchaudio: triangles of peak 1, equally wide in mel, from 20 Hz to 8 kHz.

    The scale is mel = 1127 ln(1 + f / 700). Equal to ``torchaudio.compliance.kaldi.get_mel_banks`` without vocal tract
    normalization.
    """

    def mel(frequency: Tensor | float) -> Tensor:
        return 1127 * (1 + torch.as_tensor(frequency) / 700).log()

    low, high = (mel(torch.tensor(f, dtype=torch.float64)).item() for f in (MIN_FREQUENCY, SAMPLE_RATE / 2))
    width = (high - low) / (NUM_MELS + 1)
    # In float32, as torchaudio: in float64 the narrow filters would differ from its by up to 1e-5.
    lower, center, upper = (low + (torch.arange(NUM_MELS)[:, None] + i) * width for i in (0.0, 1.0, 2.0))
    bins = mel(torch.arange(FFT_SIZE // 2) * (SAMPLE_RATE / FFT_SIZE))
    return torch.minimum((bins - lower) / (center - lower), (upper - bins) / (upper - center)).clamp(min=0)

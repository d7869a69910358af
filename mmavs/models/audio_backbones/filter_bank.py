"""Kaldi's log-mel filter bank, the input of audio transformers."""
import torch
from torch import Tensor, nn
from torchaudio.compliance.kaldi import get_mel_banks

from mmavs.audio.log_mel import HOP, SAMPLE_RATE, WINDOW
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
        filters, _ = get_mel_banks(NUM_MELS, FFT_SIZE, SAMPLE_RATE, MIN_FREQUENCY, SAMPLE_RATE / 2, 100.0, -500.0, 1.0)
        # torchaudio omits the bin of the Nyquist frequency, which is in no band.
        self.register_buffer('mel_filters', nn.functional.pad(filters, (0, 1)).T.contiguous(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(B, rows, 128) from waveforms (B, L) at 16 kHz; rows = 1 + (L - 400) // 160."""
        with disable_autocast(waveform):
            windows = waveform.float().unfold(1, WINDOW, HOP)
            windows = windows - windows.mean(2, keepdim=True)
            previous = torch.cat((windows[..., :1], windows[..., :-1]), 2)
            spectrum = torch.fft.rfft((windows - PREEMPHASIS * previous) * self.window, FFT_SIZE)
            power = spectrum.real.square() + spectrum.imag.square()
            return (power @ self.mel_filters).clamp(min=torch.finfo(torch.float32).eps).log()

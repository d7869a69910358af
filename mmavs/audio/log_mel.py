"""Log-mel spectrograms of VGGish, the front-end of mmavs."""
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmavs.utils.precision import disable_autocast

from .resampling import SAMPLE_RATE
from .spectrum import magnitude_spectrum, sliding_windows

# Spectrogram frames: windows of 25 ms every 10 ms.
WINDOW, HOP, FFT_SIZE = 400, 160, 512
NUM_MELS, MEL_RANGE = 64, (125.0, 7500.0)
LOG_OFFSET = 0.01
# An example is the input that VGGish takes for one frame of a clip.
FRAMES_PER_EXAMPLE = 96
EXAMPLE_SHAPE = (1, FRAMES_PER_EXAMPLE, NUM_MELS)
# Up to this number, that of the longest published clips, the examples of a clip are contiguous: example k begins at
# 0.96 k s. In longer clips it begins at k s, because the difference to the second of its frame would grow without end.
MAX_CONTIGUOUS_EXAMPLES = 10


def num_samples_for(num_spectrogram_frames: int) -> int:
    """Smallest number of samples that gives the number of spectrogram frames."""
    return (num_spectrogram_frames - 1) * HOP + WINDOW


# The shortest audio that can be encoded: one example, 0.975 s.
MIN_SAMPLES = num_samples_for(FRAMES_PER_EXAMPLE)


def min_seconds(num_examples: int) -> float:
    """Shortest duration in seconds that gives ``num_examples`` examples, one per frame of a clip."""
    if num_examples > MAX_CONTIGUOUS_EXAMPLES:
        return num_examples - 1 + min_seconds(1)
    return num_samples_for(num_examples * FRAMES_PER_EXAMPLE) / SAMPLE_RATE


def num_complete_examples(num_samples: int | Tensor) -> int | Tensor:
    """Number of examples in a waveform of ``num_samples``; 0 or less if it is shorter than one."""
    return (1 + (num_samples - WINDOW) // HOP) // FRAMES_PER_EXAMPLE


def mel_filters() -> Tensor:
    """Triangular filters (257, 64), float32, linear in mel = 1127 ln(1 + f / 700), peak 1, without the DC bin."""

    def mel(frequency: Tensor) -> Tensor:
        return 1127 * torch.log1p(frequency / 700)

    low, high = mel(torch.tensor(MEL_RANGE, dtype=torch.float64))
    edges = torch.linspace(low, high, NUM_MELS + 2, dtype=torch.float64)
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    bins = mel(torch.linspace(0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1, dtype=torch.float64))[:, None]
    filters = torch.minimum((bins - lower) / (center - lower), (upper - bins) / (upper - center)).clamp(min=0)
    filters[0] = 0
    return filters.float()


def log_mel_spectrogram(waveform: Tensor, window: Tensor | None = None, filters: Tensor | None = None) -> Tensor:
    """Compute the log-mel spectrogram of VGGish, always in float32.

    Magnitudes of a 512-point FFT of 25 ms Hann windows every 10 ms, 64 triangular mel bands, log(x + 0.01).

    Args:
        waveform: (..., L) in [-1, 1] at 16 kHz, L >= 400.
        window: (400,) Hann window on the waveform's device; computed if None.
        filters: :func:`mel_filters` on the waveform's device; computed if None.

    Returns:
        (..., 1 + (L - 400) // 160, 64), low bands first.
    """
    window = torch.hann_window(WINDOW, device=waveform.device) if window is None else window
    filters = mel_filters().to(waveform.device) if filters is None else filters
    # Mixed precision would lose the digits that the logarithm of quiet bands needs.
    with disable_autocast(waveform):
        magnitude = magnitude_spectrum(sliding_windows(waveform.float(), WINDOW, HOP) * window, FFT_SIZE)
        return (magnitude @ filters).add_(LOG_OFFSET).log_()


def log_mel_examples(waveform: Tensor, window: Tensor | None = None, filters: Tensor | None = None) -> Tensor:
    """Cut the log-mel spectrogram into the examples of VGGish; an incomplete last example is dropped.

    Args:
        waveform: (B, L) in [-1, 1] at 16 kHz.
        window: See :func:`log_mel_spectrogram`.
        filters: See :func:`log_mel_spectrogram`.

    Returns:
        (B, n, 1, 96, 64) float32; n = 0 below 0.975 s, 1 at 1 s, 5 at 5 s, 10 at 10 s.
    """
    num_clips, num_samples = waveform.shape
    num_examples = max(0, num_complete_examples(num_samples))
    if num_examples == 0:
        return waveform.new_zeros(num_clips, 0, *EXAMPLE_SHAPE, dtype=torch.float32)
    waveform = waveform[:, :num_samples_for(num_examples * FRAMES_PER_EXAMPLE)]
    return log_mel_spectrogram(waveform, window, filters).view(num_clips, num_examples, *EXAMPLE_SHAPE)


def log_mel_image(waveform: np.ndarray) -> np.ndarray:
    """Log-mel energies for a figure: (64, L // 160), one column every 10 ms, low bands first.

    Args:
        waveform: (L,) float in [-1, 1] at 16 kHz.
    """
    samples = torch.from_numpy(np.ascontiguousarray(waveform, np.float32))
    return log_mel_spectrogram(F.pad(samples, (0, WINDOW - HOP))).T.numpy()

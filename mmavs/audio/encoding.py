"""Encode audio as WAV."""
import io

import numpy as np
import soundfile


def encode_wav(samples: np.ndarray, rate: int) -> bytes:
    """Encode samples as a WAV file of 16 bits.

    In memory, because libsndfile does not say that a disk is full.

    Args:
        samples: (L,) or (L, channels), int16, or floats in [-1, 1].
        rate: Samples per second.
    """
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype='PCM_16', format='WAV')
    return file.getvalue()

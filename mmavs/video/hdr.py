"""Map HDR video (PQ and HLG of Rec. ITU-R BT.2100) to SDR.

A frame of AVSBench is SDR: its white is the brightest that there is. In HDR, white paper has 203 cd/m² (Report ITU-R
BT.2408), and highlights up to 10000 cd/m². Shown without a conversion, HDR is gray and pale.
"""
from __future__ import annotations

import struct
from functools import lru_cache

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

#: Luminance of white in cd/m², which becomes the white of SDR where no highlight is brighter (BT.2408).
REFERENCE_WHITE = 203.0
#: Peak luminance in cd/m² of HLG by BT.2100, and of PQ video that does not state it.
NOMINAL_PEAK = 1000.0
MAX_PQ = 10000.0
# Square roots of the values of a table with 16-bit indices; the first is not 0, to divide by.
ROOTS = np.maximum(np.arange(65536), 1e-3) / 65535
# Constants of BT.2100: PQ (ST 2084), HLG, and luminance of its primaries.
PQ_M1, PQ_M2, PQ_C1, PQ_C2, PQ_C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
HLG_A, HLG_B, HLG_C, HLG_GAMMA = 0.17883277, 0.28466892, 0.55991073, 1.2
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
# Linear RGB of BT.2020 to that of BT.709 (BT.2087).
TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)
# Gamma of an SDR display (BT.1886).
SDR_GAMMA = 2.4


def tone_map(image: np.ndarray, transfer: str, peak: float = NOMINAL_PEAK) -> np.ndarray:
    """Map an HDR image to SDR.

    1. Luminance on a display by BT.2100: PQ, or HLG with the system gamma of 1.2.
    2. The brightest of R, G and B is compressed from the peak to 203 cd/m² by the EETF of Report ITU-R BT.2390, and the
       others by the same factor, which keeps the hue.
    3. Primaries of BT.2020 to those of BT.709; colors outside are clipped.
    4. Gamma of BT.1886.

    Args:
        image: (H, W, 3) uint16, non-linear RGB of BT.2020 primaries in [0, 65535].
        transfer: 'pq' or 'hlg'.
        peak: Largest luminance of the content in cd/m².

    Returns:
        (H, W, 3) uint8, non-linear RGB of BT.709.
    """
    luminance = np.take(_linear_table(transfer), image.reshape(-1, 3))
    if transfer == 'hlg':
        luminance *= NOMINAL_PEAK * (luminance @ LUMINANCE)[:, None] ** np.float32(HLG_GAMMA - 1)
    red, green, blue = luminance.T
    brightest = np.maximum(np.maximum(red, green), blue)
    luminance *= np.take(_compression_table(max(float(peak), REFERENCE_WHITE)), _root(brightest / MAX_PQ))[:, None]
    linear = luminance @ (TO_BT709.T / np.float32(REFERENCE_WHITE))
    return np.take(_gamma_table(), _root(linear.clip(0, 1))).reshape(image.shape)


def pq_luminance(signal: np.ndarray) -> np.ndarray:
    """Luminance in cd/m² of a PQ signal in [0, 1] (EOTF of BT.2100)."""
    power = np.asarray(signal, np.float64) ** (1 / PQ_M2)
    return MAX_PQ * (np.maximum(power - PQ_C1, 0) / (PQ_C2 - PQ_C3 * power)) ** (1 / PQ_M1)


def pq_signal(luminance: np.ndarray) -> np.ndarray:
    """PQ signal in [0, 1] of a luminance in cd/m², the inverse of :func:`pq_luminance`."""
    power = (np.asarray(luminance, np.float64) / MAX_PQ) ** PQ_M1
    return ((PQ_C1 + PQ_C2 * power) / (1 + PQ_C3 * power)) ** PQ_M2


def compress(luminance: np.ndarray, peak: float) -> np.ndarray:
    """Compress luminances of [0, ``peak``] to [0, 203] cd/m²: the EETF of BT.2390, for black of 0.

    Up to a knee nothing changes; above, a Hermite spline in the PQ signal leads to the target.
    """
    largest = pq_signal(REFERENCE_WHITE) / pq_signal(peak)
    knee = 1.5 * largest - 0.5
    signal = np.minimum(pq_signal(luminance) / pq_signal(peak), 1)
    t = (signal - knee) / (1 - knee) if knee < 1 else np.zeros_like(signal)
    spline = ((2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * largest)
    return pq_luminance(np.where(signal < knee, signal, spline) * pq_signal(peak))


def frame_peak(frame: av.VideoFrame) -> float:
    """Largest luminance of the content in cd/m²: MaxCLL, else the peak of the mastering display, else 1000."""
    for data in frame.side_data:
        # AVContentLightMetadata: MaxCLL, MaxFALL.
        if data.type == SideDataType.CONTENT_LIGHT_LEVEL and (peak := struct.unpack_from('I', bytes(data))[0]):
            return float(peak)
    for data in frame.side_data:
        if data.type == SideDataType.MASTERING_DISPLAY_METADATA:
            # AVMasteringDisplayMetadata: 10 rationals, of which the last is the peak, and two flags.
            *_, numerator, denominator, _, has_luminance = struct.unpack_from('22i', bytes(data))
            if has_luminance and denominator and numerator > 0:
                return numerator / denominator
    return NOMINAL_PEAK


@lru_cache(maxsize=2)
def _linear_table(transfer: str) -> np.ndarray:
    """Linear value of each 16-bit signal: luminance of PQ, light of the scene in [0, 1] of HLG."""
    signal = np.arange(65536) / 65535
    if transfer == 'pq':
        return pq_luminance(signal).astype(np.float32)
    return np.where(signal <= 0.5, signal**2 / 3,
                    (np.exp((signal - HLG_C) / HLG_A) + HLG_B) / 12).clip(0, 1).astype(np.float32)


@lru_cache(maxsize=8)
def _compression_table(peak: float) -> np.ndarray:
    """Factor of the compression by :func:`_root` of the luminance, where 1 is the largest of PQ."""
    luminance = MAX_PQ * ROOTS**2
    return (compress(luminance, peak) / luminance).astype(np.float32)


@lru_cache(maxsize=1)
def _gamma_table() -> np.ndarray:
    """8-bit value of an SDR signal by :func:`_root` of its light."""
    return np.rint(255 * ROOTS ** (2 / SDR_GAMMA)).astype(np.uint8)


def _root(values: np.ndarray) -> np.ndarray:
    """Index in a table of values in [0, 1]: by the square root, for dark values to be resolved. Powers are slow."""
    return (np.sqrt(values) * np.float32(65535) + np.float32(0.5)).astype(np.uint16)

"""Random changes of the audio of a clip in training."""
import numpy as np
from mmcv.transforms import BaseTransform

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.registry import TRANSFORMS

# Frequency at which a tilt changes nothing, and the lowest one, in Hz.
PIVOT, LOWEST = 1000, 50


@TRANSFORMS.register_module()
class AugmentAudio(BaseTransform):
    """Change the loudness and the timbre of the audio at random, and add noise, as other microphones and rooms do.

    All values are drawn uniformly, once for a clip. What sounds does not change: the masks remain valid.

    Args:
        gain: Range of the gain in dB.
        tilt: Range of the slope of the spectrum in dB per octave, around 1 kHz.
        noise: Range of the level (RMS) of added white noise in dBFS; None for no noise.

    Required and modified keys: ``waveform``, ([2,] L) float32, afterwards in [-1, 1].

    Raises:
        ValueError: A range is not ascending, or the clip has no waveform.
    """

    def __init__(self,
                 gain: tuple[float, float] = (-6., 6.),
                 tilt: tuple[float, float] = (-2., 2.),
                 noise: tuple[float, float] | None = (-70., -40.)) -> None:
        for name, value in (('gain', gain), ('tilt', tilt), ('noise', noise or (0, 0))):
            if len(value) != 2 or value[0] > value[1]:
                raise ValueError(f'AugmentAudio: {name} is {value}, expected the lowest and the highest value')
        self.gain, self.tilt, self.noise = gain, tilt, noise

    def transform(self, results: dict) -> dict:
        """Change the audio."""
        if 'waveform' not in results:
            raise ValueError("AugmentAudio found no waveform: put it after LoadAudio(source='waveform')")
        waveform = np.asarray(results['waveform'], np.float32)
        length = waveform.shape[-1]
        frequency = np.fft.rfftfreq(length, 1 / SAMPLE_RATE).clip(LOWEST)
        level = np.random.uniform(*self.gain) + np.random.uniform(*self.tilt) * np.log2(frequency / PIVOT)
        waveform = np.fft.irfft(np.fft.rfft(waveform) * 10**(level / 20), length)
        if self.noise is not None:
            waveform += 10**(np.random.uniform(*self.noise) / 20) * np.random.standard_normal(waveform.shape)
        results['waveform'] = waveform.clip(-1, 1).astype(np.float32)
        return results

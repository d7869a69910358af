"""Audio streams of the videos that are written."""
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from mmavs.audio.resampling import resample
from mmavs.video import AudioTrack, ResampledAudio, audio_stream, open_video, start_time

# Samples that are encoded at a time: those of an AAC packet.
BLOCK = 1024

#: Time of a packet in seconds, and the packet; the packets that an encoder delays come together.
TimedPackets = tuple[float, av.Packet | list[av.Packet]]


class AudioFormat(NamedTuple):
    """Audio of a container.

    Attributes:
        codec: FFmpeg's name of the encoder.
        copied: Codecs of tracks that are copied: the container holds them and players play them.
    """
    codec: str
    copied: tuple[str, ...]

    def rate(self, rate: int) -> int:
        """Rate that the encoder has for audio of a rate: the same, the next higher one, or its highest."""
        rates = av.Codec(self.codec, 'w').audio_rates
        return min((known for known in rates if known >= rate), default=max(rates))


def encode_waveform(waveform: np.ndarray, rate: int, container: av.container.OutputContainer,
                    audio_format: AudioFormat) -> Iterator[TimedPackets]:
    """Add an encoded stream to a container that nothing has been written to; the caller writes the packets.

    Args:
        waveform: (L,) in [-1, 1], from the first frame on.
        rate: Samples per second.
        container: The container.
        audio_format: The encoder.
    """
    encoded_rate = audio_format.rate(rate)
    if encoded_rate != rate:
        waveform = resample(waveform, rate, encoded_rate)
    blocks = (waveform[None, start:start + BLOCK] for start in range(0, len(waveform), BLOCK))
    return _encode(blocks, encoded_rate, 1, container, audio_format)


def copy_audio_track(path: str | Path, container: av.container.OutputContainer,
                     audio_format: AudioFormat) -> Iterator[TimedPackets]:
    """Add the audio track of a video, from its first frame on, to a container that nothing has been written to.

    The packets are copied. A track of a codec that the container does not hold is encoded, in stereo if it has two
    channels, else in mono. The caller writes the packets. Without a track there are none.

    Args:
        path: The video or audio file.
        container: The container.
        audio_format: What is copied, and the encoder.

    Raises:
        ValueError: The video cannot be read or, while packets are read, is damaged.
    """
    start = start_time(path)
    with open_video(path) as source:
        original = audio_stream(source, path)
        codec = original and original.codec_context.codec.canonical_name
        stream = container.add_stream_from_template(original) if codec in audio_format.copied else None
    if stream is not None:
        return _copied_packets(path, start, stream)
    if codec is None:
        return iter(())
    track = AudioTrack(path, start)
    rate, stereo = audio_format.rate(track.rate), track.channels == 2
    blocks = _track_blocks(ResampledAudio(track, rate, stereo))
    return _encode(blocks, rate, 1 + stereo, container, audio_format)


def _copied_packets(path: str | Path, start: float, copied: av.AudioStream) -> Iterator[TimedPackets]:
    with open_video(path) as source:
        stream = source.streams.audio[0]
        shift = round(start / stream.time_base)
        try:
            for packet in source.demux(stream):
                if packet.pts is None or packet.dts is None:
                    continue
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                # A packet that ends at 0 primes the decoder.
                if packet.pts + (packet.duration or 0) < 0:
                    continue
                time = float(packet.pts * stream.time_base)
                packet.stream = copied
                yield time, packet
        except av.error.FFmpegError as error:
            raise ValueError(f'{path}: the audio track is damaged ({error.strerror})') from error


def _track_blocks(audio: ResampledAudio) -> Iterator[np.ndarray]:
    for start in count(0, BLOCK):
        block = np.atleast_2d(audio.section(start, start + BLOCK))
        audio.forget(start + BLOCK)
        if not block.shape[1]:
            return
        yield block


def _encode(blocks: Iterable[np.ndarray], rate: int, channels: int, container: av.container.OutputContainer,
            audio_format: AudioFormat) -> Iterator[TimedPackets]:
    """Encode blocks of samples (channels, L) of one or two channels."""
    layout = 'stereo' if channels == 2 else 'mono'
    stream = container.add_stream(audio_format.codec, rate=rate, layout=layout)

    def packets() -> Iterator[TimedPackets]:
        position = 0
        for block in blocks:
            samples = np.ascontiguousarray(np.clip(block, -1, 1), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format='fltp', layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
            yield position / rate, stream.encode(frame)
            position += block.shape[1]
        yield position / rate, stream.encode()

    return packets()

"""Audio streams of the videos that are written."""
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path

import av
import numpy as np

from mmavs.audio.log_mel import SAMPLE_RATE
from mmavs.audio.resampling import resample
from mmavs.video import AudioTrack, ResampledAudio, open_video, start_time

# Codecs of audio that MP4 files hold and players play.
COPIED_CODECS = ('aac', 'alac', 'mp3', 'ac3', 'eac3', 'opus', 'flac')
# Samples of an AAC packet.
BLOCK = 1024

#: Time of a packet in seconds, and the packet; the packets that AAC delays come together.
TimedPackets = tuple[float, av.Packet | list[av.Packet]]


def encode_waveform(waveform: np.ndarray, rate: int,
                    container: av.container.OutputContainer) -> Iterator[TimedPackets]:
    """Add an AAC stream to a container that nothing has been written to; the caller writes the packets.

    Args:
        waveform: (L,) in [-1, 1], from the first frame on.
        rate: Samples per second. Rates that AAC lacks are resampled to 16 kHz.
        container: The container.
    """
    encoded_rate = _aac_rate(rate)
    if encoded_rate != rate:
        waveform = resample(waveform, rate, encoded_rate)
    blocks = (waveform[start:start + BLOCK] for start in range(0, len(waveform), BLOCK))
    return _encode(blocks, encoded_rate, container)


def copy_audio_track(path: str | Path, container: av.container.OutputContainer) -> Iterator[TimedPackets]:
    """Add the audio of a video, from its first frame on, or of an audio file to a container that is still empty.

    The packets are copied; tracks of a codec that MP4 files do not hold are encoded in mono. The caller writes the
    packets. Without a track there are none.

    Args:
        path: The video or audio file.
        container: The container.

    Raises:
        ValueError: The video cannot be read or, while packets are read, is damaged.
    """
    start = start_time(path)
    with open_video(path) as source:
        codec = next((stream.codec_context.codec.canonical_name for stream in source.streams.audio), None)
        copied = container.add_stream_from_template(source.streams.audio[0]) if codec in COPIED_CODECS else None
    if copied is not None:
        return _copied_packets(path, start, copied)
    if codec is None:
        return iter(())
    track = AudioTrack(path, start)
    rate = _aac_rate(track.rate)
    return _encode(_track_blocks(ResampledAudio(track, rate)), rate, container)


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
        block = audio.section(start, start + BLOCK)
        audio.forget(start + BLOCK)
        if not len(block):
            return
        yield block


def _aac_rate(rate: int) -> int:
    return rate if rate in av.Codec('aac', 'w').audio_rates else SAMPLE_RATE


def _encode(blocks: Iterable[np.ndarray], rate: int,
            container: av.container.OutputContainer) -> Iterator[TimedPackets]:
    stream = container.add_stream('aac', rate=rate, layout='mono')

    def packets() -> Iterator[TimedPackets]:
        position = 0
        for block in blocks:
            frame = av.AudioFrame.from_ndarray(np.clip(block, -1, 1)[None], format='fltp', layout='mono')
            frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
            yield position / rate, stream.encode(frame)
            position += len(block)
        yield position / rate, stream.encode()

    return packets()

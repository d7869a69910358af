"""Videos that tests generate."""
import os
import struct
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np

RATE = 16000


def write_test_video(path, seconds=6, fps=10, times=None, size=(48, 64), audio_from=0.0, rate=RATE, pix_fmt='yuv420p',
                     codec='libx264', audio_codec='aac', sample_aspect_ratio=None):
    """Video whose frames in second s are of the gray value 40 s, and whose audio has the amplitude (s % 6 + 1) / 10.

    Args:
        path: The file.
        seconds: Duration.
        fps: Frames per second, unless ``times`` are given.
        times: Timestamps of the frames.
        size: (H, W).
        audio_from: Second at which the audio track begins; None: no audio track.
        rate: Samples per second.
        pix_fmt: Pixel format.
        codec: Codec of the video, None for audio alone.
        audio_codec: Codec of the audio.
        sample_aspect_ratio: Width of a pixel by its height.
    """
    times = [i / fps for i in range(seconds * fps)] if times is None else times
    with av.open(str(path), 'w') as container:
        video = None
        if codec is not None:
            video = container.add_stream(codec, rate=fps, options={'crf': '1'})
            video.height, video.width, video.pix_fmt = *size, pix_fmt
            # MPEG-2 has the frame rates of television only.
            video.codec_context.time_base = Fraction(1, fps if codec == 'mpeg2video' else 1000)
            if sample_aspect_ratio:
                video.codec_context.sample_aspect_ratio = sample_aspect_ratio
        audio = None
        if audio_from is not None:
            audio = container.add_stream(audio_codec, rate=rate, layout='mono')
        for time in times if video else ():
            image = np.full((*size, 3), 40 * int(time) % 256, np.uint8)
            # The upper left corner is white, for orientation.
            image[:size[0] // 4, :size[1] // 4] = 255
            frame = av.VideoFrame.from_ndarray(image, format='rgb24')
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        if video:
            container.mux(video.encode())
        if audio:
            t = np.arange(seconds * rate) / rate
            samples = ((t.astype(int) % 6 + 1) / 10 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
            samples = samples[round(audio_from * rate):]
            for begin in range(0, len(samples), 1024):
                block = av.AudioFrame.from_ndarray(samples[None, begin:begin + 1024], format='fltp', layout='mono')
                block.sample_rate, block.time_base = rate, Fraction(1, rate)
                block.pts = round(audio_from * rate) + begin
                for converted in av.AudioResampler(format=audio.format, rate=rate).resample(block):
                    container.mux(audio.encode(converted))
            container.mux(audio.encode())
    return path


@contextmanager
def same_priority():
    """Restore the scheduling of this thread: SVT-AV1, as root, gives it real-time priority, and all others wait."""
    if not hasattr(os, 'sched_getscheduler'):  # Linux only
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def rotate(path, quarters=1):
    """Turn an MP4 file by quarters clockwise, as a phone does: by the matrix in the header of the first track."""
    content = path.read_bytes()
    place = content.index(b'tkhd') + 4 + 40
    identity = struct.pack('>9i', 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    assert content[place:place + 36] == identity
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
    turned = struct.pack('>9i', cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:place] + turned + content[place + 36:])


def write_clip(path, frames, samples=None, rate=RATE, *, fps=4, times=None, audio_from=0.0, codec='ffv1',
               pix_fmt='bgr0', audio_codec='pcm_s16le', layout='mono', options=None, setup=None, metadata=None):
    """Video of given frames and samples, by default without a loss.

    Args:
        path: The file.
        frames: Arrays (H, W, 3) uint8 RGB, or frames of PyAV; empty for a file of audio alone.
        samples: (L, channels) floats; None: no audio track.
        rate: Samples per second.
        fps: Frames per second, unless ``times`` are given.
        times: Timestamps of the frames.
        audio_from: Timestamp of the first sample.
        codec: Codec of the video.
        pix_fmt: Pixel format.
        audio_codec: Codec of the audio.
        layout: Layout of the channels.
        options: Options of the codec of the video.
        setup: Function that gets the codec context of the video.
        metadata: Metadata of the container.
    """
    times = [i / fps for i in range(len(frames))] if times is None else times
    options = dict(options or {})
    if codec == 'libx265':
        # With fewer frames than it reorders, x265 takes decoding times from memory that nothing has been written to.
        options['x265-params'] = ':'.join(filter(None, [options.get('x265-params'), 'bframes=0']))
    with av.open(str(path), 'w') as container:
        container.metadata.update(metadata or {})
        if len(frames):
            video = container.add_stream(codec, rate=fps, options=options)
            frames = [frame if isinstance(frame, av.VideoFrame) else av.VideoFrame.from_ndarray(frame, format='rgb24')
                      for frame in frames]
            video.width, video.height, video.pix_fmt = frames[0].width, frames[0].height, pix_fmt
            video.codec_context.time_base = Fraction(1, 1000)
            if setup:
                setup(video.codec_context)
        if samples is not None:
            audio = container.add_stream(audio_codec, rate=rate, layout=layout)
        packets = []
        for time, frame in zip(times, frames):
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            packets += video.encode(frame)
        packets += video.encode() if len(frames) else []
        if samples is not None:
            resampler = av.AudioResampler(format=audio.format, layout=layout, rate=rate)
            for begin in range(0, len(samples), 1024):
                block = np.ascontiguousarray(samples[begin:begin + 1024], np.float32).reshape(1, -1)
                block = av.AudioFrame.from_ndarray(block, format='flt', layout=layout)
                block.sample_rate, block.time_base = rate, Fraction(1, rate)
                block.pts = round(audio_from * rate) + begin
                for converted in resampler.resample(block):
                    packets += audio.encode(converted)
            packets += audio.encode()
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def trim(path, track, seconds):
    """Let a track of an MP4 or MOV file begin later, by its edit list, as phones do when a recording is shortened."""
    content = bytearray(path.read_bytes())
    tracks = [match for match in range(len(content) - 4) if content[match:match + 4] == b'trak']
    edit = content.index(b'elst', tracks[track]) + 4
    version, count, duration, begin = struct.unpack_from('>IIIi', content, edit)
    assert (version, count) == (0, 1)
    media_header = content.index(b'mdhd', tracks[track]) + 4
    scale, = struct.unpack_from('>I', content, media_header + 12)
    movie_scale, = struct.unpack_from('>I', content, content.index(b'mvhd') + 4 + 12)
    struct.pack_into('>Ii', content, edit + 8, duration - round(seconds * movie_scale), begin + round(seconds * scale))
    path.write_bytes(content)

"""Open video files and decode their streams, with errors that name the file and the time."""
from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

# Seconds that a server may take to be reached and to send data: a server that says nothing is an error, not a wait.
URL_TIMEOUT = 30.0
# Formats whose header states the duration: MP4, MOV, Matroska and WebM. For others, FFmpeg estimates it from the size
# and the end of the file.
STATING_DURATION = {'mov', 'matroska'}
# Seconds, and share of the duration, by which a complete file may end before the time that its header states.
END_TOLERANCE, END_TOLERANCE_SHARE = 1.0, 0.02
# Decoders that decode the alpha channel of WebM files, by codec; FFmpeg's own do not.
ALPHA_DECODERS = {'vp8': 'libvpx', 'vp9': 'libvpx-vp9'}


def is_url(path: str | Path) -> bool:
    """Check if a path is the URL of a video. An existing file is not, whatever its name."""
    return '://' in str(path) and not os.path.exists(path)


@contextmanager
def open_video(path: str | Path) -> Iterator[av.container.InputContainer]:
    """Open a file or a URL; its content decides on its format, not its suffix.

    Raises:
        FileNotFoundError: There is no such file.
        PermissionError: The file may not be read.
        ValueError: FFmpeg cannot read it, or the server of the URL does not answer.
    """
    url = is_url(path)
    # FFmpeg takes 'a:b.mp4' for a URL, but not './a:b.mp4'.
    name = str(path) if url else os.path.join('.', path)
    try:
        if not url and not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError(f'{path}: not a regular file, expected a video')
        # Titles and other texts in the file are not used, in whatever encoding they are.
        container = av.open(name, timeout=URL_TIMEOUT if url else None, metadata_errors='replace')
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{path}: no such video file') from error
    except PermissionError as error:
        raise PermissionError(f'{path}: no permission to read this file') from error
    except av.error.FFmpegError as error:
        raise ValueError(f'{path}: FFmpeg cannot read this as a video ({_reason(error)})') from error
    with container:
        yield container


def video_stream(container: av.container.InputContainer, path: str | Path) -> av.VideoStream:
    """The first video stream, which is not the cover image of an audio file.

    Raises:
        ValueError: There is none, or FFmpeg has no decoder for it.
    """
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        raise ValueError(f'{path}: no video stream{" but audio" if container.streams.audio else ""}, expected a video')
    _check_decoder(streams[0], path)
    streams[0].thread_type = 'AUTO'
    return streams[0]


def audio_stream(container: av.container.InputContainer, path: str | Path) -> av.AudioStream | None:
    """The first audio stream, None without one.

    Raises:
        ValueError: FFmpeg has no decoder for it.
    """
    if not container.streams.audio:
        return None
    _check_decoder(container.streams.audio[0], path)
    return container.streams.audio[0]


def _check_decoder(stream: av.stream.Stream, path: str | Path) -> None:
    if stream.codec_context is None:
        raise ValueError(f'{path}: FFmpeg has no decoder for the {stream.type} stream: the file is damaged, or its '
                         'codec is rare')


def decode(container: av.container.InputContainer, stream: av.stream.Stream,
           path: str | Path) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Decode a stream. Frames that the decoder repaired are used, with one warning.

    Raises:
        ValueError: The stream is damaged, or the file ends before the time that its header states; the message says
            after which time.
    """
    decoder, end, time, repaired = _decoder(stream), 0.0, 0.0, False
    try:
        # The packets of the other streams tell where the file ends.
        for packet in container.demux():
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream.index != stream.index:
                continue
            for frame in decoder.decode(packet):
                time = time if frame.time is None else frame.time
                if not repaired and frame.is_corrupt:
                    repaired = True
                    warnings.warn(f'{path}: the {stream.type} stream is damaged at {time:.2f} s; what the decoder '
                                  'repaired is used', stacklevel=2)
                yield frame
    except av.error.FFmpegError as error:
        raise ValueError(
            f'{path}: the {stream.type} stream is damaged after {time:.2f} s ({_reason(error)})') from error
    stated = _stated_end(container)
    if stated is not None and end < stated - max(END_TOLERANCE, END_TOLERANCE_SHARE * stated):
        raise ValueError(f'{path}: truncated or damaged, it can be read up to {end:.2f} s, its header states '
                         f'{stated:.2f} s; to use what there is, copy it (ffmpeg -i OLD -c copy NEW)')


def _decoder(stream: av.stream.Stream) -> av.codec.CodecContext:
    context = stream.codec_context
    has_alpha = any(key.lower() == 'alpha_mode' and value == '1' for key, value in stream.metadata.items())
    name = ALPHA_DECODERS.get(context.codec.canonical_name) if has_alpha else None
    try:
        return av.CodecContext.create(name, 'r') if name else context
    except av.codec.codec.UnknownCodecError:  # FFmpeg was built without it: the frames are opaque.
        return context


def _stated_end(container: av.container.InputContainer) -> float | None:
    """Time at which audio and video end by the header of the file; None if it does not say."""
    if STATING_DURATION.isdisjoint(container.format.name.split(',')):
        return None
    streams = [stream for stream in container.streams if stream.type in ('audio', 'video') and not is_cover(stream)]
    if all(stream.duration for stream in streams):
        return max(float(((stream.start_time or 0) + stream.duration) * stream.time_base) for stream in streams)
    if container.duration is None or len(streams) < len(container.streams):
        return None
    return ((container.start_time or 0) + container.duration) / av.time_base


def is_cover(stream: av.stream.Stream) -> bool:
    """Check if a video stream is the cover image of an audio file."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _reason(error: av.error.FFmpegError) -> str:
    if isinstance(error, av.error.ExitError):
        return f'no answer for {URL_TIMEOUT:g} s'
    return error.strerror

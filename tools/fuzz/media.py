"""Make valid images, audio files, videos and arrays, of which hostile ones are made by changes."""
import io
import random
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import soundfile
from grammar import change
from PIL import Image

AUDIO_FORMATS = [('WAV', 'PCM_16'), ('WAV', 'FLOAT'), ('WAV', 'GSM610'), ('FLAC', 'PCM_16'), ('OGG', 'VORBIS'),
                 ('OGG', 'OPUS'), ('MP3', 'MPEG_LAYER_III'), ('AIFF', 'PCM_16'), ('AU', 'PCM_16'), ('RF64', 'PCM_16'),
                 ('W64', 'PCM_16'), ('CAF', 'PCM_16')]
VIDEO_FORMATS = [('mp4', 'libx264'), ('mkv', 'libx264'), ('webm', 'libvpx-vp9'), ('avi', 'mpeg4')]


def changed(make_valid: Callable[[], list[bytes]]) -> Callable[[int], Callable[[], bytes]]:
    """Inputs that are valid files with changed bytes; of 50 files, one is left as it is."""

    def inputs(seed: int) -> Callable[[], bytes]:
        rng, valid = random.Random(seed), make_valid()
        return lambda: change(rng.choice(valid), rng) if rng.randrange(50) else rng.choice(valid)

    return inputs


def images() -> list[bytes]:
    """Small images of all formats and modes that datasets have."""
    pixels, files = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8), []
    formats = [('png', ('RGB', 'L', 'P', '1', 'I;16', 'RGBA')), ('jpeg', ('RGB', 'L'))]
    formats += [(name, ('RGB', )) for name in ('webp', 'bmp', 'tiff', 'ppm', 'gif', 'jpeg2000', 'avif')]
    for name, modes in formats:
        for mode in modes:
            buffer = io.BytesIO()
            image = Image.fromarray(pixels)
            (Image.fromarray(pixels[..., 0].astype(np.uint16)) if mode == 'I;16' else image.convert(mode)).save(
                buffer, name)
            files.append(buffer.getvalue())
    return files


def sounds() -> list[bytes]:
    """Short audio files of the formats that users have."""
    samples, files = np.random.default_rng(0).normal(0, 0.1, (4000, 2)), []
    for container, subtype in AUDIO_FORMATS:
        buffer = io.BytesIO()
        soundfile.write(buffer, samples[:, 0] if subtype == 'GSM610' else samples, 16000, format=container,
                        subtype=subtype)
        files.append(buffer.getvalue())
    return files


def videos() -> list[bytes]:
    """Short videos with audio in the containers of cameras and of the web."""
    files = []
    for suffix, codec in VIDEO_FORMATS:
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, f'video.{suffix}')
            with av.open(str(path), 'w') as container:
                video = container.add_stream(codec, rate=5)
                video.width, video.height, video.pix_fmt = 32, 24, 'yuv420p'
                audio = container.add_stream('libopus' if suffix == 'webm' else 'aac', rate=48000, layout='mono')
                for k in range(5):
                    frame = np.full((24, 32, 3), 40 * k, np.uint8)
                    container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format='fltp', layout='mono')
                samples.sample_rate = 48000
                container.mux(audio.encode(samples))
                for stream in (video, audio):
                    container.mux(stream.encode())
            files.append(path.read_bytes())
    return files


def arrays() -> list[bytes]:
    """Files of numpy.save: masks of a frame, an id map, pickled objects."""
    files = []
    ids = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for array in (np.ones((2, 8, 8), bool), np.zeros((1, 8, 8), np.float32), ids, ids.astype(np.int64),
                  np.array([None])):
        buffer = io.BytesIO()
        np.save(buffer, array)
        files.append(buffer.getvalue())
    return files


def hostile_archives(seed: int) -> Callable[[], bytes]:
    """Files of numpy.savez with changed bytes, or of changed arrays with right checksums."""
    rng = random.Random(seed)
    masks = [np.zeros((2, 8, 8), np.uint8), np.ones((2, 8, 8), np.float32) / 2, np.ones((1, 8, 8), bool)]

    def members(array: np.ndarray) -> list[tuple[str, bytes]]:
        buffer = io.BytesIO()
        np.save(buffer, array)
        content = buffer.getvalue()
        kind = rng.randrange(6)
        if kind < 3:
            content = change(content, rng)
        elif kind == 3:  # the length of the header is unchanged
            shape = str(array.shape).encode()
            number = str(rng.choice([-1, 0, 2**31, 2**40, 2**63, 10**30])).encode()
            content = content.replace(shape + b', }', shape[:1] + number + shape[2:] + b', }')
        name = rng.choice(['a.npy', 'b/c.npy', '../d.npy', 'e', '.npy', 'x' * 300])
        return [(name, content)] * rng.choice([1, 1, 1, 2])

    def make() -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, 'w', rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
            for name, content in members(rng.choice(masks)) + [('clip.npy', arrays()[2])] * rng.randrange(2):
                archive.writestr(name, content)
        return change(buffer.getvalue(), rng) if rng.randrange(2) else buffer.getvalue()

    return make

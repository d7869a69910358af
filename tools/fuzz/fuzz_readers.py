#!/usr/bin/env python
"""Read hostile files in child processes with limits, and count the outcomes: ``python tools/fuzz/fuzz_readers.py``.

An input must be read, or refused by one error that names the file. What counts as a fault: an exception of another kind
or without the name, more memory than ``--memory`` or more seconds than ``--seconds``, and the end of the process.
Inputs with faults are kept in ``--keep``.
"""
import argparse
import io
import multiprocessing
import os
import pickle
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import soundfile
from grammar import change, hostile_files
from PIL import Image

from mmavs.audio.io import audio_seconds, read_waveform
from mmavs.checkpoint.reading import read_checkpoint
from mmavs.checkpoint.tensor_file import load_tensor
from mmavs.cli.arguments import positive_int
from mmavs.datasets.file_listing import read_csv
from mmavs.utils.images import image_shape, read_image
from mmavs.utils.json_files import read_json
from mmavs.video import FRAME_POSITION, AudioTrack, probe_video, sample_frames

REFUSALS = (ValueError, ImportError, FileNotFoundError, pickle.UnpicklingError)


def changed(make_valid: Callable[[], list[bytes]]) -> Callable[[int], Callable[[], bytes]]:
    """Inputs that are valid files with changes."""

    def inputs(seed: int) -> Callable[[], bytes]:
        rng, valid = random.Random(seed), make_valid()
        return lambda: change(rng.choice(valid), rng)

    return inputs


def images() -> list[bytes]:
    """Small images of all formats and modes that datasets have."""
    pixels, files = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8), []
    for suffix, modes in (('png', ('RGB', 'L', 'P', '1', 'I;16', 'RGBA')), ('jpeg', ('RGB', 'L'))):
        for mode in modes:
            buffer = io.BytesIO()
            image = Image.fromarray(pixels)
            (Image.fromarray(pixels[..., 0].astype(np.uint16)) if mode == 'I;16' else image.convert(mode)).save(
                buffer, suffix)
            files.append(buffer.getvalue())
    return files


def sounds() -> list[bytes]:
    """Short audio files of the formats that users have."""
    samples, files = np.random.default_rng(0).normal(0, 0.1, (4000, 2)), []
    for container in ('WAV', 'FLAC', 'OGG', 'MP3', 'AIFF', 'AU', 'RF64', 'W64'):
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, 16000, format=container)
        files.append(buffer.getvalue())
    return files


def videos() -> list[bytes]:
    """Short videos with audio in the containers of cameras and of the web."""
    files = []
    for suffix, codec in (('mp4', 'libx264'), ('mkv', 'libx264'), ('webm', 'libvpx-vp9'), ('avi', 'mpeg4')):
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


def read_video(path: Path) -> None:
    """Read the properties of a video, a frame of each second, and its audio."""
    properties = probe_video(path)
    for _ in sample_frames(path, Fraction(1), FRAME_POSITION):
        pass
    if properties.audio_rate:
        track = AudioTrack(path, properties.start)
        track.read(0, 1)
        track.close()


def lists() -> list[bytes]:
    """Lists of clips as CSV, and JSON files."""
    return [b'name,category,split\nclip_1,dog,train\n"clip, 2",cat,test\n', b'\xef\xbb\xbfname,split\nx,val\n',
            b'{"background": 0, "dog": 1, "cat": 2}', b'{"a": [1.5, null, "text"], "b": {"c": true}}']


#: Kind -> suffix, maker of inputs, functions that read a file.
READERS = {
    'checkpoint': ('.pth', hostile_files, (read_checkpoint, load_tensor)),
    'image': ('.png', changed(images), (read_image, image_shape)),
    'audio': ('.wav', changed(sounds), (read_waveform, audio_seconds)),
    'video': ('.mp4', changed(videos), (read_video, )),
    'list': ('.csv', changed(lists), (partial(read_csv, columns=('name', 'split')), read_json)),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Read hostile files in child processes with limits')
    parser.add_argument('--kinds', nargs='+', choices=READERS, default=list(READERS), help='kinds of files')
    parser.add_argument('--inputs', type=positive_int, default=10000, help='inputs of each kind (default: 10000)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the inputs (default: 0)')
    parser.add_argument('--memory', type=positive_int, default=1024, help='MiB beyond the start (default: 1024)')
    parser.add_argument('--seconds', type=positive_int, default=5, help='seconds for an input (default: 5)')
    parser.add_argument('--keep', type=Path, default=Path('work_dirs/fuzz'), help='directory of inputs with faults')
    return parser.parse_args()


def read_inputs(kind: str, args: argparse.Namespace, first: int, pipe) -> None:
    """Child process: read inputs from ``first`` on, and send what becomes of each."""
    suffix, make_inputs, readers = READERS[kind]
    # Decoders write notes to it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter('ignore')
    path = args.keep / f'{kind}{suffix}'
    make = make_inputs(args.seed)
    start = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (start + args.memory * 2**20, resource.RLIM_INFINITY))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for index in range(args.inputs):
        data = make()
        if index < first:
            continue
        path.write_bytes(data)
        pipe.send((index, data, None))
        for read in readers:
            signal.alarm(args.seconds)
            try:
                read(path)
                outcome = 'read'
            except REFUSALS as error:
                outcome = 'refused' if path.name in str(error) else f'fault: no name in {type(error).__name__}: {error}'
            except BaseException as error:  # counted as a fault
                outcome = f'fault: {type(error).__name__}: {error}'
            signal.alarm(0)
            pipe.send((index, None, outcome[:200]))
    pipe.send((args.inputs, None, None))


def fuzz(kind: str, args: argparse.Namespace) -> Counter:
    """Read all inputs of a kind; a process that ends is replaced from the next input on."""
    outcomes, index, context = Counter(), 0, multiprocessing.get_context('fork')
    while index < args.inputs:
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=read_inputs, args=(kind, args, index, sender))
        child.start()
        sender.close()
        data = b''
        try:
            while index < args.inputs:
                index, content, outcome = receiver.recv()
                data = data if content is None else content
                if outcome is not None:
                    outcomes[outcome.partition(':')[0]] += 1
                    if outcome.startswith('fault'):
                        report(kind, index, data, outcome, args.keep)
        except EOFError:
            child.join()
            outcomes['fault'] += 1
            report(kind, index, data, f'fault: the process ended with {child.exitcode}', args.keep)
            index += 1
        child.join()
    return outcomes


def report(kind: str, index: int, data: bytes, outcome: str, directory: Path) -> None:
    path = directory / f'{kind}_{index}{READERS[kind][0]}'
    path.write_bytes(data)
    print(f'{path}: {outcome}', file=sys.stderr)


def main() -> None:
    args = parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    faults = 0
    for kind in args.kinds:
        start = time.time()
        outcomes = fuzz(kind, args)
        faults += outcomes['fault']
        counts = ', '.join(f'{outcome} {count}' for outcome, count in sorted(outcomes.items()))
        print(f'{kind}: {args.inputs} inputs, {len(READERS[kind][2])} readers, {time.time() - start:.0f} s: {counts}')
    sys.exit(1 if faults else 0)


if __name__ == '__main__':
    main()

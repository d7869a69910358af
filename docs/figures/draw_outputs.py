"""Draw the figures of the outputs in docs/user_guides/inference.md.

    python docs/figures/draw_outputs.py [--out DIR]

Writes the outputs of a video of procedural clips, with their ground truth as prediction. From these it makes
``outputs.jpg``, one frame of each kind, and ``timeline.png``.
"""
import argparse
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mmavs.apis.outputs import OUTPUTS, OutputContext
from mmavs.apis.video_chunk import VideoChunk
from mmavs.synthesis.scenes import CATEGORIES
from mmavs.synthesis.synthesize import make_clip
from mmavs.visualization import AVSVisualizer
from mmavs.visualization.canvas import Page

CLIPS, SEED, SIZE, FRAME = (2, 5, 8), 0, 320, 1
GAP, LABEL = 0.12, 0.3


def main() -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--out', type=Path, default=Path(__file__).parents[1] / 'images')
    out = parser.parse_args().out
    clips = [make_clip('avss', 'test', index, SEED, SIZE) for index in CLIPS]
    frames, masks = (np.concatenate([getattr(clip, name) for clip in clips]) for name in ('frames', 'masks'))
    visualizer = AVSVisualizer()
    visualizer.dataset_meta = dict(classes=('background', *CATEGORIES))
    context = OutputContext(
        visualizer.dataset_meta, visualizer.palette, Fraction(1),
        dict(waveform=np.concatenate([clip.waveform for clip in clips]), sample_rate=16000), 'video.mp4')
    with tempfile.TemporaryDirectory() as directory:
        for output in ('overlay', 'cutout-prores', 'class-masks', 'timeline'):
            chunk = VideoChunk(0, np.arange(len(frames)) + 15 / 16, list(frames), masks)
            OUTPUTS[output].write(Path(directory) / OUTPUTS[output].file, [chunk], context)
        Image.open(Path(directory) / 'timeline.png').convert('RGB').quantize(128).save(out / 'timeline.png')
        Image.fromarray(draw_frames(Path(directory), frames[FRAME])).save(out / 'outputs.jpg', quality=90)


def draw_frames(directory: Path, frame: np.ndarray) -> np.ndarray:
    """Draw a frame of the video and of each output side by side."""
    images = [('frame', frame), ('overlay', read_frame(directory / 'overlay.mp4', 'rgb24')),
              ('cutout', on_checkerboard(read_frame(directory / 'cutout.mov', 'rgba')))]
    for path in sorted((directory / 'class-masks').iterdir()):
        image = read_frame(path, 'rgb24')
        if image.any():
            images.append((f'class-masks/{path.name}', image))
    side = SIZE / 120 * 0.8
    page = Page(GAP + len(images) * (side + GAP), GAP + side + LABEL)
    for k, (label, image) in enumerate(images):
        x = GAP + k * (side + GAP)
        page.add_image(x, GAP, side, side, image)
        page.add_text(x, GAP + side + LABEL / 2, label)
    return page.render()


def read_frame(path: Path, pixel_format: str) -> np.ndarray:
    """Read the frame of a video that is shown."""
    with av.open(str(path)) as container:
        frames: Iterator[av.VideoFrame] = container.decode(video=0)
        return next(frame for k, frame in enumerate(frames) if k == FRAME).to_ndarray(format=pixel_format)


def on_checkerboard(image: np.ndarray) -> np.ndarray:
    """Show transparency (H, W, 4) as image editors do."""
    rows, columns = np.indices(image.shape[:2]) // 16
    board = np.where(((rows + columns) % 2)[..., None], 205, 235)
    alpha = image[..., 3:] / 255
    return (alpha * image[..., :3] + (1 - alpha) * board).round().astype(np.uint8)


if __name__ == '__main__':
    main()

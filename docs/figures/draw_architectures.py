"""Draw the architecture figures of the method pages.

    python docs/figures/draw_architectures.py [--out DIR] [--png]

Writes ``{method}_architecture.svg`` of each method. Coordinates are points; a figure is 600 points (800 pixels) wide, y
points down. Before a figure is saved, arrows and texts are checked: none may cross a box or a text.
"""
import argparse
from itertools import combinations
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle, Wedge
from matplotlib.path import Path as Outline
from matplotlib.text import Text
from matplotlib.transforms import Bbox

plt.switch_backend('Agg')
# Text as outlines looks the same everywhere. The salt makes the identifiers inside the files repeatable.
plt.rcParams.update({'svg.fonttype': 'path', 'svg.hashsalt': 'mmavs', 'font.family': 'DejaVu Sans'})

WIDTH = 600
FONT_SIZE = 9
INK = '#1f2933'
# Kind of a part -> color of its area, color of its border and of its arrows.
COLORS = {
    'visual': ('#dcebfa', '#2468a8'),
    'audio': ('#fdebd2', '#c4690c'),
    'fusion': ('#e8def6', '#6a43ae'),
    'learned': ('#eceff1', '#5f6b76'),
    'loss': ('#ffffff', '#b42318'),
}
LEGEND = {
    'visual': 'visual stream', 'audio': 'audio stream', 'fusion': 'fusion, prediction', 'learned': 'learned parameters',
    'loss': 'loss (training only)'
}
BOX_HEIGHT = 44
# The grid of the figures: the centers of five columns, and the width of their boxes.
COLUMNS = (40, 153, 279, 405, 531)
BOX_WIDTH = 73


class Diagram:
    """A figure of boxes, arrows and labels.

    Args:
        height: Height of the figure, without its legend.
    """

    def __init__(self, height: float) -> None:
        self.height = height + 26
        self.figure = plt.figure(figsize=(WIDTH / 72, self.height / 72), facecolor='white')
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(self.height, 0))
        self.axes.axis('off')
        self.boxes: dict[str, Bbox] = {}
        self.box_texts: list[tuple[str, Text]] = []
        self.labels: list[Text] = []
        self.arrows: list[tuple[list[tuple[float, float]], set[str]]] = []

    # Parts

    def box(self, name: str, x: float, y: float, text: str, kind: str, width: float = BOX_WIDTH,
            height: float = BOX_HEIGHT, copies: int = 1) -> None:
        """A box with its center at (x, y); ``copies`` show that there are several."""
        area, border = COLORS[kind]
        for offset in reversed(range(copies)):
            self.axes.add_patch(FancyBboxPatch(
                (x - width / 2 + 3 * offset, y - height / 2 - 3 * offset), width, height, facecolor=area,
                boxstyle='round,pad=0,rounding_size=5', edgecolor=border, linewidth=1.2, zorder=2,
                linestyle=(0, (4, 2.5)) if kind == 'loss' else 'solid'))
        color = border if kind == 'loss' else INK
        head, *rest = text.split('\n')
        lines = len(rest) + 1
        for i, line in enumerate((head, *rest)):
            weight = 'bold' if i == 0 or line.startswith('*') else 'normal'
            self.box_texts.append((name, self._text(x, y + (i - (lines - 1) / 2) * 12, line.lstrip('*'), color,
                                                    fontweight=weight)))
        self.boxes[name] = _rectangle(x, y, width, height)

    def circle(self, name: str, x: float, y: float, text: str, kind: str, radius: float = 9) -> None:
        """An operation such as a sum, or a reference to a tensor."""
        area, border = COLORS[kind]
        self.axes.add_patch(Circle((x, y), radius, facecolor=area, edgecolor=border, linewidth=1.2, zorder=2))
        self._text(x, y, text, INK, size=FONT_SIZE + 2)
        self.boxes[name] = _rectangle(x, y, 2 * radius, 2 * radius)

    def panel(self, left: float, top: float, right: float, bottom: float, title: str) -> None:
        """A background with a title, for the inside of a part."""
        self.axes.add_patch(FancyBboxPatch(
            (left, top), right - left, bottom - top, boxstyle='round,pad=0,rounding_size=8', facecolor='#f7f8fa',
            edgecolor='#c5ccd3', linewidth=1, zorder=0))
        self.labels.append(self._text(left + 9, top + 11, title, INK, ha='left', fontweight='bold'))

    # Inputs and outputs

    def frames(self, name: str, x: float, y: float, title: str = 'Frames') -> None:
        """The frames of a clip."""
        self._images(name, x, y, title, 'visual', background='#cfe6f8', person='#2468a8', other='#e9a23b')

    def mask_prior(self, name: str, x: float, y: float, title: str) -> None:
        """Rendered segmentations of the frames of a clip."""
        self._images(name, x, y, title, 'visual', background='#57b894', person='#8e44ad', other='#f2c14e')

    def masks(self, name: str, x: float, y: float, title: str = 'Masks') -> None:
        """The masks of a clip."""
        self._images(name, x, y, title, 'fusion', background='#23272e', person='white', other=None)

    def _images(self, name: str, x: float, y: float, title: str, kind: str, background: str, person: str,
                other: str | None) -> None:
        for offset in (8, 4, 0):
            left, top = x - 24 + offset, y - 12 - offset
            self._rectangle(left, top, 44, 30, background, COLORS[kind][1])
            self.axes.add_patch(Circle((left + 15, top + 12), 4.2, facecolor=person, zorder=3))
            self.axes.add_patch(Wedge((left + 15, top + 29.5), 9.5, 180, 360, facecolor=person, zorder=3))
            if other is not None:
                self._rectangle(left + 29, top + 17, 10, 8, other, 'none')
        self._end_item(name, x, y, title)

    def waveform(self, name: str, x: float, y: float, title: str = 'Waveform') -> None:
        """The audio of a clip."""
        heights = (3, 7, 12, 18, 10, 5, 9, 16, 26, 20, 11, 6, 4, 8, 14, 9, 4)
        for i, height in enumerate(heights):
            self._rectangle(x - 24 + 2.9 * i, y + 3 - height / 2, 1.9, height, COLORS['audio'][1], 'none')
        self._end_item(name, x, y, title)

    def _end_item(self, name: str, x: float, y: float, title: str) -> None:
        self.labels.append(self._text(x + 2, y + 28, title, INK))
        self.boxes[name] = _rectangle(x + 1, y, 54, 42)

    # Arrows and labels

    def arrow(self, kind: str, *stops: str | tuple[float, float]) -> None:
        """An arrow along horizontal and vertical lines.

        Args:
            kind: The color.
            *stops: Points (x, y); ``'box.side'``, ``'box.side:position'`` with a position in [0, 1], or
                ``'box.side:='`` for the position of the adjacent stop; and, between two others, ``'-|'`` for the corner
                of a horizontal and then a vertical line, ``'|-'`` for the other.
        """
        line = [self._anchor(stop) if '.' in stop else stop for stop in stops]
        for i, j in ((0, 1), (-1, -2)):
            if str(stops[i]).endswith(':='):
                horizontal = stops[i].endswith(('left:=', 'right:='))
                line[i] = (line[i][0], line[j][1]) if horizontal else (line[j][0], line[i][1])
        for i, stop in enumerate(line):
            if stop in ('-|', '|-'):
                (x0, y0), (x1, y1) = line[i - 1], line[i + 1]
                line[i] = (x1, y0) if stop == '-|' else (x0, y1)
        names = {stop.split('.')[0] for stop in stops if isinstance(stop, str)}
        for (x0, y0), (x1, y1) in zip(line, line[1:]):
            if min(abs(x1 - x0), abs(y1 - y0)) > 0.01:
                raise ValueError(f'the arrow {stops} is neither horizontal nor vertical: {line}')
        color = COLORS[kind][1]
        length = abs(x1 - x0) + abs(y1 - y0)
        shorter = (x1 - (x1 - x0) / length * 5, y1 - (y1 - y0) / length * 5)
        self.axes.plot(*zip(*line[:-1], shorter), color=color, linewidth=1.4, zorder=1.5, solid_joinstyle='round',
                       linestyle=(0, (3, 2)) if kind == 'loss' else 'solid')
        along, across = ((x1 - x0) / length, (y1 - y0) / length), ((y1 - y0) / length, (x1 - x0) / length)
        base = (x1 - 6.5 * along[0], y1 - 6.5 * along[1])
        self.axes.add_patch(Polygon(
            [(x1, y1), (base[0] + 3 * across[0], base[1] + 3 * across[1]),
             (base[0] - 3 * across[0], base[1] - 3 * across[1])], facecolor=color, zorder=1.6))
        self.arrows.append((line, names))

    def dot(self, kind: str, x: float, y: float) -> None:
        """The point where an arrow leaves another one."""
        self.axes.add_patch(Circle((x, y), 2, facecolor=COLORS[kind][1], zorder=1.7))

    def label(self, x: float, y: float, text: str, ha: str = 'center') -> None:
        """A tensor shape or a remark."""
        self.labels.append(self._text(x, y, text, '#3b4651', ha=ha))

    def around(self, x: float, y: float, above: str, below: str) -> None:
        """A label of two lines, one on either side of a horizontal arrow."""
        self.label(x, y - 8, above)
        self.label(x, y + 8.5, below)

    def legend(self, *kinds: str) -> None:
        """What the colors mean, at the bottom."""
        texts = [self._text(0, self.height - 13, LEGEND[kind], INK, ha='left') for kind in kinds]
        widths = [self._extent(text).width + 20 for text in texts]
        gap = 16
        x = (WIDTH - sum(widths) - gap * (len(kinds) - 1)) / 2
        for kind, text, width in zip(kinds, texts, widths):
            area, border = COLORS[kind]
            self.axes.add_patch(Rectangle(
                (x, self.height - 18), 15, 10, facecolor=area, edgecolor=border, linewidth=1.2,
                linestyle=(0, (3, 2)) if kind == 'loss' else 'solid'))
            text.set_x(x + 20)
            x += width + gap
        self.labels.extend(texts)

    # Checks and files

    def check(self, name: str) -> None:
        """Raise a ValueError if a text leaves its box, or an arrow or a label crosses anything."""
        problems = []
        for box, text in self.box_texts:
            extent = self._extent(text)
            if extent.x0 < self.boxes[box].x0 + 2 or extent.x1 > self.boxes[box].x1 - 2:
                problems.append(f'{text.get_text()!r} is {extent.width:.0f} wide, {box} {self.boxes[box].width:.0f}')
        extents = [(text.get_text(), self._extent(text)) for text in self.labels]
        for text, extent in extents:
            if extent.x0 < 2 or extent.x1 > WIDTH - 2:
                problems.append(f'{text!r} leaves the figure')
        areas = [*extents, *self.boxes.items()]
        problems += [f'{a!r} overlaps {b!r}' for (a, x), (b, y) in combinations(areas, 2) if _overlap(x, y)]
        for line, names in self.arrows:
            outline = Outline(line)
            crossed = [box for box, area in self.boxes.items()
                       if box not in names and outline.intersects_bbox(area.padded(-0.5), filled=False)]
            crossed += [text for text, extent in extents
                        if outline.intersects_bbox(extent.padded(-1), filled=False)]
            problems += [f'the arrow of {sorted(names)} crosses {other!r}' for other in crossed]
        if problems:
            raise ValueError(f'{name}:\n  ' + '\n  '.join(problems))

    def save(self, path: Path) -> None:
        """Write the figure as SVG or PNG, the same bytes every time."""
        self.figure.savefig(path, dpi=144, metadata={'Date': None} if path.suffix == '.svg' else None)

    def _anchor(self, anchor: str) -> tuple[float, float]:
        name, side = anchor.split('.', 1)
        side, _, position = side.partition(':')
        position = float(position.strip('=') or 0.5)
        box = self.boxes[name]
        if side in ('left', 'right'):
            return (box.x0 if side == 'left' else box.x1), box.y0 + position * box.height
        return box.x0 + position * box.width, (box.y0 if side == 'top' else box.y1)

    def _text(self, x: float, y: float, text: str, color: str, size: float = FONT_SIZE, ha: str = 'center',
              **kwargs: str) -> Text:
        return self.axes.text(x, y, text, fontsize=size, color=color, ha=ha, va='center_baseline', zorder=4, **kwargs)

    def _extent(self, text: Text) -> Bbox:
        pixels = text.get_window_extent(self.figure.canvas.get_renderer())
        corners = self.axes.transData.inverted().transform(pixels)
        return Bbox([corners.min(0), corners.max(0)])

    def _rectangle(self, left: float, top: float, width: float, height: float, area: str, border: str) -> None:
        self.axes.add_patch(Rectangle((left, top), width, height, facecolor=area, edgecolor=border, linewidth=0.8,
                                      zorder=3))


def _rectangle(x: float, y: float, width: float, height: float) -> Bbox:
    return Bbox.from_bounds(x - width / 2, y - height / 2, width, height)


def _overlap(a: Bbox, b: Bbox) -> bool:
    return min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1


def tpavi() -> Diagram:
    """TPAVI: the pipeline, and one TPAVI block."""
    d = Diagram(426)
    c0, c1, c2, c3, c4 = COLUMNS
    row, audio_row = 50, 138
    d.frames('frames', c0, row)
    d.box('backbone', c1, row, 'Backbone\nPVTv2-B5 or\nResNet-50', 'visual')
    d.box('dilated', c2, row, 'Dilated\n*convolutions\n3, 6, 12, 18', 'visual', copies=3)
    d.box('tpavi', c3, row, 'TPAVI\nat each stage', 'fusion', copies=3)
    d.box('decoder', c4, row, 'Decoder\nFPN-like', 'fusion')
    d.waveform('waveform', c0, audio_row)
    d.box('vggish', c1, audio_row, 'VGGish\nfrozen', 'audio')
    d.masks('masks', c4, audio_row)

    d.arrow('visual', 'frames.right', 'backbone.left')
    d.around(92, row, '(N, 3,', 'H, W)')
    d.arrow('visual', 'backbone.right', 'dilated.left')
    d.around(216, row, '(N, C$_l$,', 'H/s, W/s)')
    d.arrow('visual', 'dilated.right', 'tpavi.left')
    d.around(344, row, '(N, C,', 'H/s, W/s)')
    d.arrow('fusion', 'tpavi.right', 'decoder.left')
    d.around(470, row, '(N, C,', 'H/s, W/s)')
    d.arrow('audio', 'waveform.right', 'vggish.left')
    d.label(91, audio_row - 8, '(B, L)')
    d.arrow('audio', 'vggish.right', '-|', 'tpavi.bottom:0.3')
    d.label(279, audio_row - 8, '(B, T, 1, 128)')
    d.arrow('fusion', 'decoder.bottom', 'masks.top:=')
    d.label(c4 - 5, 93, '(N, K, H, W)', 'right')

    d.box('matching', 429, 208, 'Matching loss\nMS3 and AVSS', 'loss', width=88, height=36)
    d.box('mask_loss', 540, 208, 'Mask loss\nBCE (K = 1) or CE', 'loss', width=104, height=36)
    d.arrow('loss', 'tpavi.bottom:=', 'matching.top')
    d.label(424, 163, 'Z, linear(A)', 'right')
    d.arrow('loss', 'masks.left:0.6', '-|', 'matching.top:0.8')
    d.arrow('loss', 'masks.right', '-|', 'mask_loss.top:0.9')

    # One block
    top, middle, bottom = 307, 347, 393
    d.panel(12, 248, 588, 418, 'TPAVI block of one stage, for a group of 5 frames')
    d.box('V', 42, top, 'V', 'visual', 34, 28)
    d.box('A', 42, bottom, 'A', 'audio', 34, 28)
    d.box('g', 158, top, 'mean of g(V)', 'visual', 84, 28)
    d.box('theta', 158, middle, 'θ(V)', 'visual', 84, 28)
    d.box('phi', 158, bottom, 'φ(linear(A))', 'audio', 84, 28)
    d.box('alpha', 280, 370, 'Similarity α\npixel × frame\n(N, 5, h·w)', 'fusion', 88, 74)
    d.circle('times', 366, top, '×', 'fusion')
    d.box('mu', 421, top, 'μ, BN', 'fusion', 52, 28)
    d.circle('plus', 479, top, '+', 'fusion')
    d.box('norm', 537, top, 'LayerNorm', 'fusion', 68, 28)
    d.arrow('visual', 'V.right', 'g.left')
    d.label(87, top - 8, '(N, C, h, w)')
    d.arrow('visual', 'V.bottom', '|-', 'theta.left')
    d.arrow('audio', 'A.right', 'phi.left')
    d.label(87, bottom - 8, '(N, 128)')
    d.arrow('visual', 'theta.right', 'alpha.left:=')
    d.arrow('audio', 'phi.right', 'alpha.left:=')
    d.arrow('visual', 'g.right', 'times.left')
    d.label(278, top - 8, '(N, C/2) per frame')
    d.arrow('fusion', 'alpha.right', '-|', 'times.bottom')
    d.arrow('fusion', 'times.right', 'mu.left')
    d.arrow('fusion', 'mu.right', 'plus.left')
    d.arrow('fusion', 'plus.right', 'norm.left')
    d.arrow('visual', 'V.top', (42, 279), '-|', 'plus.top')
    d.arrow('fusion', 'norm.bottom', (537, 362))
    d.label(537, 371, 'Z (N, C, h, w)')
    d.legend('visual', 'audio', 'fusion', 'loss')
    return d


def avsegformer() -> Diagram:
    """AVSegFormer: the mask feature above, visual tokens and decoder in the middle, queries from the audio below."""
    d = Diagram(370)
    c0, c1, c2, c3, c4 = COLUMNS
    top, middle, bottom, lowest = 88, 190, 290, 350
    d.frames('frames', c0, middle)
    d.box('backbone', c1, middle, 'Backbone\nPVTv2-B5 or\nResNet-50', 'visual')
    d.box('encoder', c2, middle, 'Encoder\ndeformable\n6 layers', 'visual')
    d.box('decoder', c3, middle, 'Decoder\n6 layers', 'fusion')
    d.box('feature', c2, top, 'Mask\n*feature F\nconvolutions', 'visual')
    d.box('mixer', c3, top, 'Mixer\nof channels', 'fusion')
    d.box('head', c4, 114, 'Mask head\nE = q · $\\tilde{F}$\nMLP(E) + $\\tilde{F}$\nconvolutions', 'fusion', height=96)
    d.waveform('waveform', c0, bottom)
    d.box('vggish', c1, bottom, 'VGGish\nfrozen,\nlinear', 'audio')
    d.box('generator', c2, bottom, 'Query\n*generator\n6 layers', 'audio')
    d.circle('sum', c3, bottom, '+', 'fusion')
    d.box('vectors', c2, lowest, 'Learned (Q, C)', 'learned', width=90, height=24)
    d.box('queries', c3, lowest, 'Learned (Q, C)', 'learned', width=90, height=24)
    d.circle('a', 426, 139, 'a', 'audio')
    d.masks('masks', c4, 222)

    d.arrow('visual', 'frames.right', 'backbone.left')
    d.around(92, middle, '(N, 3,', 'H, W)')
    d.arrow('visual', 'backbone.right', 'encoder.left')
    d.around(216, middle, '(N, C$_l$,', 'H/s, W/s)')
    d.label(216, middle + 32, 's = 8, 16, 32')
    d.arrow('visual', 'backbone.top', '|-', 'feature.left')
    d.label(161, top - 8, '(N, C₁, H/4, W/4)', 'left')
    d.arrow('visual', 'encoder.top', 'feature.bottom')
    d.label(c2 + 5, 132, '(N, C,', 'left')
    d.label(c2 + 5, 145, 'H/8, W/8)', 'left')
    d.arrow('visual', 'encoder.right', 'decoder.left')
    d.around(342, middle, '(N, S, C)', 'tokens')
    d.arrow('visual', 'feature.right', 'mixer.left')
    d.around(342, top, 'F (N, C,', 'H/4, W/4)')
    d.arrow('audio', 'a.top', 'mixer.bottom:=')
    d.arrow('fusion', 'mixer.right', 'head.left:=')
    d.around(468, top, '$\\tilde{F}$ (N, C,', 'H/4, W/4)')
    d.arrow('fusion', 'decoder.right', (468, middle), (468, 140), 'head.left:=')
    d.label(446, middle + 9, 'q (N, Q, C)', 'left')
    d.arrow('fusion', 'head.bottom', 'masks.top:=')
    d.label(c4 + 5, 180, '(N, K, H, W)', 'left')
    d.arrow('audio', 'waveform.right', 'vggish.left')
    d.label(91, bottom - 8, '(B, L)')
    d.arrow('audio', 'vggish.right', 'generator.left')
    d.around(216, bottom, 'a', '(N, 1, C)')
    d.arrow('audio', 'generator.right', 'sum.left')
    d.label(356, bottom - 8, '(N, Q, C)')
    d.arrow('learned', 'vectors.top', 'generator.bottom')
    d.arrow('learned', 'queries.top', 'sum.bottom')
    d.arrow('fusion', 'sum.top', 'decoder.bottom')
    d.label(c3 + 5, 247, '(N, Q, C)', 'left')

    d.box('mix_loss', c3, 22, 'Mix loss\ndice of the mean channel', 'loss', width=132, height=34)
    d.arrow('loss', 'mixer.top', 'mix_loss.bottom')
    d.box('mask_loss', 540, 300, 'Mask loss\ndice (K = 1) or CE', 'loss', width=104, height=36)
    d.arrow('loss', 'masks.right', '-|', 'mask_loss.top:0.9')
    d.legend('visual', 'audio', 'fusion', 'learned', 'loss')
    return d


def vct() -> Diagram:
    """VCT: the pipeline, and prototype-prompted query generation."""
    d = Diagram(464)
    c0, c1 = COLUMNS[:2]
    row, prior_row, audio_row = 72, 152, 236
    c2, c3, c4 = 304, 412, 532
    d.frames('frames', c0, row)
    d.box('backbone', c1, row, 'Backbone\nSwin-B, PVTv2\nor ResNet', 'visual', width=80)
    d.circle('plus', 207, row, '+', 'visual')
    d.mask_prior('prior', c0, prior_row, 'Mask prior')
    d.box('prior_backbone', c1, prior_row, 'Optional\nbackbone and\nchannel gate', 'visual', width=80)
    d.box('pixel_decoder', c2, row, 'Pixel decoder\ndeformable\n6 layers', 'visual', width=80)
    d.box('ppqg', c3, row, 'PPQG\nsee below', 'fusion', width=62)
    d.box('decoder', c4, 101, 'Audio-visual\n*decoder\n9 layers: audio,\nstride 32, 16, 8\nin turn', 'fusion', width=88,
          height=102)
    d.waveform('waveform', c0, audio_row)
    d.box('vggish', c1, audio_row, 'VGGish\nfrozen,\nconvolutions', 'audio', width=80)
    d.box('mlp', c2, audio_row, 'MLP\nper token', 'audio', width=80)
    d.masks('masks', 549, 218)

    d.arrow('visual', 'frames.right', 'backbone.left')
    d.around(90, row, '(N, 3,', 'H, W)')
    d.arrow('visual', 'backbone.right', 'plus.left')
    d.arrow('visual', 'prior.right', 'prior_backbone.left')
    d.around(90, prior_row, '(N, 3,', 'H, W)')
    d.arrow('visual', 'prior_backbone.right', '-|', 'plus.bottom')
    d.arrow('visual', 'plus.right', 'pixel_decoder.left')
    d.around(240, row, '(N, C$_l$,', 'H/s, W/s)')
    d.arrow('visual', 'pixel_decoder.right', 'ppqg.left')
    d.arrow('visual', 'pixel_decoder.top', (c2, 25), '-|', 'decoder.top')
    d.label(418, 17, 'mask features (N, C, H/4, W/4)')
    d.arrow('fusion', 'ppqg.right', 'decoder.left:=')
    d.label(465, row - 8, '(N, Q, C)')
    d.arrow('visual', 'pixel_decoder.bottom', (c2, 128), 'decoder.left:=')
    d.label(310, 120, '(N, C, H/s, W/s), s = 32, 16, 8', 'left')
    d.arrow('audio', 'waveform.right', 'vggish.left')
    d.label(90, audio_row - 8, '(B, L)')
    d.arrow('audio', 'vggish.right', 'mlp.left')
    d.label(229, audio_row - 8, '(B, T, 24, 512)')
    d.arrow('audio', 'mlp.right', (508, audio_row), 'decoder.bottom:=')
    d.label(400, audio_row - 8, '(N, 24, C)')
    d.arrow('fusion', 'decoder.bottom:=', 'masks.top')
    d.label(545, 172, '(N, K,', 'right')
    d.label(545, 185, 'H, W)', 'right')

    # Query generation
    line, low = 350, 425
    d.panel(12, 278, 482, 456, 'PPQG: prototype-prompted query generation')
    d.box('convolutions', 65, line, 'Convolutions\n1×1, 3×3, 1×1', 'visual', width=86)
    d.box('mixer', 167, line, 'Query mixer\nMLP over\npixels', 'visual', width=76)
    d.box('prompt', 269, line, 'Attention\nto prototypes', 'fusion', width=80)
    d.box('grouping', 371, line, 'Grouping\nof pixels,\nGumbel', 'fusion', width=70)
    d.box('prototypes', 269, low, 'Audio\n*prototypes\n(M, C)', 'learned', width=80)
    d.box('pac', 371, low, 'PAC loss\nS4 and AVSS', 'loss', width=76, height=36)
    d.arrow('visual', (65, 395), 'convolutions.bottom')
    d.label(65, 403, 'mask features')
    d.arrow('visual', 'convolutions.right', 'mixer.left')
    d.arrow('visual', 'convolutions.top', (65, 313), '-|', 'grouping.top')
    d.label(218, 305, 'P (N, C, h·w)')
    d.arrow('visual', 'mixer.right', 'prompt.left')
    d.arrow('learned', 'prototypes.top', 'prompt.bottom')
    d.arrow('fusion', 'prompt.right', 'grouping.left')
    d.arrow('fusion', 'grouping.right', (474, line))
    d.label(441, line - 8, 'V$^q$ (N, Q, C)')
    d.arrow('loss', 'prototypes.right', 'pac.left')
    d.dot('audio', 495, audio_row)
    d.arrow('loss', (495, audio_row), '|-', 'pac.right')

    d.box('criterion', 546, 318, 'Set criterion\nmatching, CE,\nBCE and dice', 'loss', width=92, height=48)
    d.arrow('loss', 'decoder.right', (585, 101), 'criterion.top:=')
    d.legend('visual', 'audio', 'fusion', 'learned', 'loss')
    return d


def combo() -> Diagram:
    """COMBO: the pipeline, and the bilateral fusion."""
    d = Diagram(424)
    c0, c1 = COLUMNS[:2]
    row, prior_row, audio_row = 46, 124, 208
    c2, c3, c4 = 304, 412, 532
    d.frames('frames', c0, row)
    d.box('backbone', c1, row, 'Backbone\nResNet-50 or\nPVTv2-B5', 'visual', width=80)
    d.circle('plus', 207, row, '+', 'visual')
    d.mask_prior('prior', c0, prior_row, 'Mask prior')
    d.box('prior_backbone', c1, prior_row, 'Second\nbackbone and\nchannel gate', 'visual', width=80)
    d.box('pixel_decoder', c2, row, 'Pixel decoder\ndeformable\n6 layers', 'visual', width=80)
    d.box('fusion', c3, 126, 'Bilateral\n*fusion\nsee below', 'fusion', width=66)
    d.box('decoder', c4, 58, 'Decoder\n9 layers:\nstride 32, 16, 8\nin turn', 'fusion', width=88, height=72)
    d.waveform('waveform', c0, audio_row)
    d.box('vggish', c1, audio_row, 'VGGish\nfrozen', 'audio', width=80)
    d.circle('sum', 506, audio_row, '+', 'fusion')
    d.box('mlp', 461, audio_row, 'MLP', 'audio', width=38, height=28)
    d.box('queries', 506, 270, 'Learned (Q, C)', 'learned', width=90, height=24)
    d.masks('masks', 557, 132)

    d.arrow('visual', 'frames.right', 'backbone.left')
    d.around(90, row, '(N, 3,', 'H, W)')
    d.arrow('visual', 'backbone.right', 'plus.left')
    d.arrow('visual', 'prior.right', 'prior_backbone.left')
    d.around(90, prior_row, '(N, 3,', 'H, W)')
    d.arrow('visual', 'prior_backbone.right', '-|', 'plus.bottom')
    d.arrow('visual', 'plus.right', 'pixel_decoder.left')
    d.around(240, row, '(N, C$_l$,', 'H/s, W/s)')
    d.arrow('visual', 'pixel_decoder.right', 'decoder.left:=')
    d.label(346, row - 8, '(N, C, H/s, W/s), s = 32, 16, 8', 'left')
    d.arrow('visual', 'pixel_decoder.bottom', '|-', 'fusion.left')
    d.label(299, 86, 'M (N, C,', 'right')
    d.label(299, 99, 'H/4, W/4)', 'right')
    d.arrow('fusion', 'fusion.top', (c3, 82), 'decoder.left:=')
    d.label(c3 + 5, 91, 'fused M', 'left')
    d.arrow('audio', 'waveform.right', 'vggish.left')
    d.label(90, audio_row - 8, '(B, L)')
    d.arrow('audio', 'vggish.right', '-|', 'fusion.bottom:0.2')
    d.label(250, audio_row - 8, 'a (B, T, 1, 128)')
    d.arrow('fusion', 'fusion.bottom:=', (428, audio_row), 'mlp.left')
    d.arrow('fusion', 'mlp.right', 'sum.left')
    d.arrow('learned', 'queries.top', 'sum.bottom')
    d.arrow('fusion', 'sum.top', 'decoder.bottom:=')
    d.label(501, 186, '(N, Q, C)', 'right')
    d.arrow('fusion', 'decoder.bottom:=', 'masks.top:=')

    # Fusion
    line, low = 318, 386
    d.panel(12, 250, 422, 416, 'Bilateral fusion')
    d.box('v', 58, line, 'v = LN(M)', 'visual', width=70, height=30)
    d.box('a', 58, low, 'α = LN(a)', 'audio', width=70, height=30)
    d.box('attention', 172, 352, 'Attention\nsoftmax over\nthe pixels', 'fusion', width=82, height=52)
    d.box('to_pixels', 284, line, 'A V(α)', 'fusion', width=60, height=30)
    d.box('to_audio', 284, low, 'A$^T$ V(v)', 'fusion', width=60, height=30)
    d.circle('add_v', 362, line, '+', 'fusion')
    d.circle('add_a', 362, low, '+', 'fusion')
    d.arrow('visual', 'v.right', (112, line), (112, 340), (131, 340))
    d.arrow('audio', 'a.right', (112, low), (112, 364), (131, 364))
    d.arrow('fusion', 'attention.right', (233, 352), (233, line), 'to_pixels.left')
    d.arrow('fusion', 'attention.right', (233, 352), (233, low), 'to_audio.left')
    d.arrow('fusion', 'to_pixels.right', 'add_v.left')
    d.label(333, line - 9, '$\\gamma_v$')
    d.arrow('fusion', 'to_audio.right', 'add_a.left')
    d.label(333, low - 9, '$\\gamma_a$')
    d.arrow('visual', 'v.top', (58, 290), '-|', 'add_v.top')
    d.arrow('audio', 'a.bottom', (58, 409), '-|', 'add_a.bottom')
    d.arrow('fusion', 'add_v.right', (416, line))
    d.arrow('fusion', 'add_a.right', (416, low))

    d.box('consistency', 507, 318, 'Consistency loss\nadjacent frames', 'loss', width=104, height=34)
    d.box('criterion', 507, 382, 'Set criterion\nmatching, CE,\nBCE and dice', 'loss', width=104, height=48)
    d.arrow('loss', 'decoder.right', (592, 58), '|-', 'consistency.right')
    d.dot('loss', 592, 318)
    d.arrow('loss', (592, 318), '|-', 'criterion.right')
    d.legend('visual', 'audio', 'fusion', 'learned', 'loss')
    return d


def ravs() -> Diagram:
    """RAVS: the pipeline, and one audio-guided modality alignment."""
    d = Diagram(406)
    c0, c1, c2, c3 = COLUMNS[:4]
    row, audio_row = 66, 150
    d.frames('frames', c0, row)
    d.box('stage', c1, row, 'Stage $l$\nof PVTv2 or\nResNet', 'visual')
    d.box('ama', c2, row, 'AMA\nafter each\nof 4 stages', 'fusion')
    d.box('levels', c3, row, 'Sum of\n*levels\nat stride 4', 'fusion')
    d.box('temporal', 530, row, 'Temporal\n*attention\nbetween frames', 'fusion', width=82)
    d.waveform('waveform', c0, audio_row)
    d.box('vggish', c1, audio_row, 'VGGish\nfrozen', 'audio')
    d.box('mask_head', 466, audio_row, 'Mask head', 'fusion', width=64, height=32)
    d.box('uncertainty', 541, audio_row, 'Uncertainty\nhead', 'fusion', width=72, height=32)
    d.box('suppression', 504, 222, 'Prediction\n(1 - u) p', 'fusion', width=84, height=36)
    d.masks('masks', 504, 290)

    d.arrow('visual', 'frames.right', 'stage.left')
    d.around(92, row, '(N, 3,', 'H, W)')
    d.arrow('visual', 'stage.right', 'ama.left')
    d.around(216, row, '(N, D,', 'H/s, W/s)')
    d.arrow('fusion', 'ama.top', (c2, 24), '-|', 'stage.top')
    d.label(216, 16, 'to stage $l$ + 1')
    d.arrow('fusion', 'ama.right', 'levels.left')
    d.around(342, row, '(N, D,', 'H/s, W/s)')
    d.arrow('fusion', 'levels.right', 'temporal.left')
    d.around(465, row, '(N, C,', 'H/4, W/4)')
    d.arrow('audio', 'waveform.right', 'vggish.left')
    d.label(91, audio_row - 8, '(B, L)')
    d.arrow('audio', 'vggish.right', (262, audio_row), 'ama.bottom:=')
    d.label(226, audio_row - 8, '(B, T, 1, 128)')
    d.arrow('fusion', 'temporal.bottom:=', (505, 111), (466, 111), 'mask_head.top')
    d.arrow('fusion', 'temporal.bottom:=', 'uncertainty.top')
    d.arrow('fusion', 'mask_head.bottom:=', (480, d.boxes['suppression'].y0))
    d.arrow('fusion', 'uncertainty.bottom:=', (528, d.boxes['suppression'].y0))
    d.label(476, 186, '(N, K, h, w)', 'right')
    d.label(533, 186, 'u (N, h, w)', 'left')
    d.arrow('fusion', 'suppression.bottom', 'masks.top:=')

    d.box('contrast', 306, audio_row, 'InfoNCE', 'loss', width=54, height=26)
    d.arrow('loss', 'ama.bottom:=', 'contrast.top:0.4')
    d.dot('audio', 262, audio_row)
    d.arrow('loss', (262, audio_row), 'contrast.left')
    d.box('mask_loss', 381, audio_row, 'CE, dice, IoU', 'loss', width=74, height=26)
    d.arrow('loss', 'mask_head.left', 'mask_loss.right')
    d.box('evidence_loss', 545, 362, 'Evidence loss', 'loss', width=90, height=26)
    d.arrow('loss', 'uncertainty.right', (588, audio_row), (588, 330), (545, 330), 'evidence_loss.top')

    # Alignment
    line, low = 264, 358
    d.panel(12, 206, 452, 398, 'AMA: audio-guided modality alignment')
    d.box('pixels', 40, line, 'f$_v$', 'visual', 34, 28)
    d.box('groups', 122, line, 'Grouping\nDPC-KNN,\nP groups', 'visual', width=70)
    d.box('attention', 220, line, 'Attention\naudio, pixels\nof a group', 'fusion', width=82)
    d.box('merging', 316, line, 'Merging\nby S into\ntokens G', 'fusion', width=68)
    d.box('update', 405, line, 'Decoder\nlayers,\nbias S', 'fusion', width=68)
    d.box('back', 403, low, 'Map back\nto the grid', 'fusion', width=74, height=36)
    d.circle('add', 316, low, '+', 'fusion')
    d.box('audio', 140, 324, 'a', 'audio', 34, 28)
    d.arrow('visual', 'pixels.right', 'groups.left')
    d.label(45, 300, '(N, D, h, w)', 'left')
    d.arrow('visual', 'groups.right', 'attention.left')
    d.arrow('fusion', 'attention.right', 'merging.left')
    d.arrow('fusion', 'merging.right', 'update.left')
    d.arrow('audio', 'audio.right', (203, 324), 'attention.bottom:=')
    d.arrow('fusion', 'attention.bottom:=', (236, 310), (391, 310), 'update.bottom:=')
    d.label(287, 319, 'response S (N, h, w)')
    d.arrow('fusion', 'update.bottom:=', (420, d.boxes['back'].y0))
    d.arrow('fusion', 'back.left', 'add.right')
    d.arrow('visual', 'pixels.bottom', (40, 386), '-|', 'add.bottom')
    d.arrow('fusion', 'add.left', (262, low))
    d.label(257, low, 'to stage $l$ + 1 and sum of levels', 'right')
    d.legend('visual', 'audio', 'fusion', 'loss')
    return d


def ease() -> Diagram:
    """EASE: the blocks of the backbone in the middle, the audio below, and one fuser."""
    d = Diagram(452)
    c0 = COLUMNS[0]
    row, query_row, audio_row = 72, 160, 246
    c1, c2, c3, c4 = 150, 290, 428, 545
    d.frames('frames', c0, row)
    d.box('first', c1, row, 'First blocks\nDINOv3 or\nPVTv2', 'visual', width=80)
    d.box('fuser', c2 - 36, row, 'Fuser\nsee below', 'fusion', width=62)
    d.box('last', c2 + 58, row, 'Last blocks\n4 or 6, with\nthe queries', 'fusion', width=76)
    d.box('late', c3 + 22, row, 'Fuser\nthe same', 'fusion', width=58)
    d.box('upscale', c4, row, 'Upscaling\nof patches\nby 4', 'visual', width=70)
    d.box('class_head', c3 + 22, query_row, 'Class head\nmask head', 'fusion', width=72, height=36)
    d.masks('masks', c4, 236)
    d.waveform('waveform', c0, audio_row)
    d.box('vggish', c1, audio_row, 'VGGish\nfrozen,\n(N, 128)', 'audio', width=80)
    d.box('enhancer', 254, audio_row, 'Audio\n*enhancer\n5 tokens A', 'audio', width=72)
    d.box('generator', 348, audio_row, 'Query\n*generator\n2 layers', 'audio', width=68)
    d.box('learned', 440, audio_row, 'Learned\n(Q, C)', 'learned', width=62, height=32)
    d.circle('plus', 348, query_row, '+', 'fusion')
    d.box('embedding', 290, query_row, 'Learned\n(Q, d)', 'learned', width=56, height=32)

    d.arrow('visual', 'frames.right', 'first.left')
    d.around(88, row, '(N, 3,', 'H, W)')
    d.arrow('visual', 'first.right', 'fuser.left')
    d.around(206, row, '(N, P,', 'd)')
    d.arrow('fusion', 'fuser.right', 'last.left')
    d.arrow('fusion', 'last.top', (348, 30), '-|', 'fuser.top')
    d.label(301, 22, 'to the next block')
    d.arrow('fusion', 'last.right', 'late.left')
    d.arrow('fusion', 'late.right', 'upscale.left')
    d.arrow('fusion', 'late.bottom', 'class_head.top')
    d.label(455, 117, 'norm, Q queries', 'left')
    d.arrow('visual', 'upscale.bottom', 'masks.top:=')
    d.label(c4 - 5, 187, '(N, d, H/4,', 'right')
    d.label(c4 - 5, 200, 'W/4)', 'right')
    d.arrow('fusion', 'class_head.bottom:=', (440, 205), (496, 205), (496, 240), 'masks.left:=')
    d.arrow('audio', 'waveform.right', 'vggish.left')
    d.label(89, audio_row - 8, '(B, L)')
    d.arrow('audio', 'vggish.right', 'enhancer.left')
    d.arrow('audio', 'enhancer.right', 'generator.left')
    d.arrow('audio', 'enhancer.top:0.2', 'fuser.bottom:=')
    d.label(227, query_row, 'A (N, 5, 320)', 'right')
    d.arrow('learned', 'learned.left', 'generator.right')
    d.arrow('audio', 'generator.top', 'plus.bottom')
    d.arrow('learned', 'embedding.right', 'plus.left')
    d.arrow('fusion', 'plus.top', 'last.bottom:=')
    d.label(353, 120, '(N, Q, d)', 'left')
    d.box('criterion', 452, 301, 'Set criterion: matching, CE, BCE and dice', 'loss', width=232, height=26)
    d.arrow('loss', 'masks.right', (584, 236), '|-', 'criterion.right')

    # The fuser
    line, low = 366, 420
    d.panel(12, 322, 588, 444, 'Fuser: the same weights at every call')
    d.box('patches', 44, line, 'x', 'visual', 34, 28)
    d.box('tokens', 44, low, 'A', 'audio', 34, 28)
    d.box('clusters', 156, line, 'Clusters\n5 centers', 'visual', width=78, height=34)
    d.box('attention', 276, 393, 'Attention\nof A to the\nclusters', 'fusion', width=80, height=74)
    d.box('vector', 390, 393, 'One audio\n*vector\nweighted sum', 'fusion', width=84)
    d.circle('gate', 474, 393, '×', 'fusion')
    d.circle('add', 530, 393, '+', 'fusion')
    d.arrow('visual', 'patches.right', 'clusters.left')
    d.label(89, line - 8, '(N, P, d)')
    d.arrow('visual', 'clusters.right', 'attention.left:=')
    d.arrow('audio', 'tokens.right', 'attention.left:=')
    d.label(140, low - 8, '(N, 5, 320), projected to d')
    d.arrow('fusion', 'attention.right', 'vector.left')
    d.arrow('fusion', 'vector.right', 'gate.left')
    d.arrow('fusion', 'gate.right', 'add.left')
    d.arrow('visual', 'patches.top', (44, 345), '-|', 'gate.top')
    d.arrow('visual', (474, 345), (530, 345), 'add.top')
    d.label(474, 416, 'sigmoid of x and')
    d.label(474, 428, 'the vector, 8 heads')
    d.arrow('fusion', 'add.right', (572, 393))
    d.legend('visual', 'audio', 'fusion', 'learned', 'loss')
    return d


FIGURES = {'tpavi': tpavi, 'avsegformer': avsegformer, 'combo': combo, 'vct': vct, 'ease': ease, 'ravs': ravs}


def main() -> None:
    """Check and write the figures."""
    parser = argparse.ArgumentParser(description='Draw the architecture figures of the method pages')
    parser.add_argument('--out', type=Path, default=Path(__file__).parents[1] / 'images', help='directory')
    parser.add_argument('--png', action='store_true', help='write PNG files as well')
    args = parser.parse_args()
    for method, draw in FIGURES.items():
        diagram = draw()
        diagram.check(method)
        for suffix in ('.svg', '.png') if args.png else ('.svg', ):
            diagram.save(args.out / f'{method}_architecture{suffix}')


if __name__ == '__main__':
    main()

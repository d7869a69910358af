"""Colors of label maps."""
import numpy as np


def voc_palette(num_classes: int) -> list[list[int]]:
    """Return the PASCAL-VOC color map, in which AVSBench-semantic stores and renders its labels.

    The bits of a label are assigned to R, G and B in turn, starting at the highest bit of each color: 0 is black, 1 is
    (128, 0, 0), 8 is (64, 0, 0).

    Args:
        num_classes: Number of colors, at most 256.

    Returns:
        ``num_classes`` colors [R, G, B] in the range [0, 255].
    """
    labels = np.arange(num_classes)
    colors = np.zeros((num_classes, 3), dtype=np.int64)
    for i in range(3):
        for channel in range(3):
            colors[:, channel] |= ((labels >> (3 * i + channel)) & 1) << (7 - i)
    return colors.tolist()

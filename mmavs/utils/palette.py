"""The colours of label maps."""
import numpy as np


def voc_palette(num_classes: int) -> list[list[int]]:
    """The PASCAL-VOC colour map, in which AVSBench-semantic stores and draws its labels.

    The bits of a label are dealt to R, G and B in turn, from the highest bit of the colours down: 0 is black, 1 is
    (128, 0, 0), 8 is (64, 0, 0).

    Args:
        num_classes: Number of colours, at most 256.

    Returns:
        ``num_classes`` colours [R, G, B] in the range [0, 255].
    """
    labels = np.arange(num_classes)
    colours = np.zeros((num_classes, 3), dtype=np.int64)
    for i in range(3):
        for channel in range(3):
            colours[:, channel] |= ((labels >> (3 * i + channel)) & 1) << (7 - i)
    return colours.tolist()

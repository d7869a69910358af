"""Multi-layer perceptron."""
from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers with ReLU between them, over the last axis.

    Args:
        channels: Width of the input, of every hidden layer and of the output: ``(256, 256, 100)`` has two layers.
    """

    def __init__(self, *channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(c_in, c_out) for c_in, c_out in pairwise(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Output (..., channels[-1]) from x (..., channels[0])."""
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        return self.layers[-1](x)
